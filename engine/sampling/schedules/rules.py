"""Steps, scheduler and denoise → sigmas, by the rules of ComfyUI's KSampler, BasicScheduler and KSamplerAdvanced.

Sigmas are float32 on the CPU, where a sampler reads them without waiting for the device.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.samplers.table import sampler_named
from engine.sampling.schedulers import SCHEDULERS

MAX_SCHEDULE = 100_000
"""The most steps of a whole schedule, of which a ``denoise`` below 1 runs the end."""

_NOTHING = torch.zeros(0)


@functools.lru_cache(maxsize=128)  # a job asks when it is checked, submitted and started, for each of its pictures
def sigmas(
    *, sampler: str, scheduler: str, steps: int, denoise: float, levels: NoiseLevels = STABLE_DIFFUSION_1
) -> Tensor:
    """Return the noise levels that ``sampler`` passes through under KSampler's rule: (n+1,) float32, falling, ending at
    0.

    n is ``steps``, except for ddim_uniform and beta, which may give another number. A ``denoise`` in (0, 0.9999] runs
    the last ``steps`` intervals of a schedule of ``steps / denoise``; 0 gives no sigmas at all, and above 0.9999 the
    whole schedule is run. The returned tensor is cached and must not be changed.
    Raises ``BadRequest`` where the schedule or the sampler has no finite answer.
    """
    if denoise <= 0:
        return _NOTHING
    whole = denoise > 0.9999
    discard = sampler_named(sampler).discards_penultimate
    ladder = _ladder(scheduler, _whole_count(steps, 1.0 if whole else denoise), levels, discard=discard, steps=steps)
    ladder = ladder if whole else ladder[-(steps + 1) :]
    if stands_still(sampler, ladder):  # only ``simple`` repeats sigmas, and only beyond the training sigmas' number
        most = levels.count - discard
        raise BadRequest("steps", steps, f"steps / denoise up to {most} with sampler {sampler}, scheduler {scheduler}")
    return ladder


def basic(*, scheduler: str, steps: int, denoise: float = 1.0, levels: NoiseLevels = STABLE_DIFFUSION_1) -> Tensor:
    """Return the sigmas of BasicScheduler: (at most steps+1,) float32, falling, ending at 0; none where ``denoise`` is
    0.

    Unlike KSampler's rule it leaves out no sigma, and always keeps the last ``steps + 1``, so that a ddim_uniform of
    one interval more loses its first. Raises ``BadRequest`` where the schedule has no finite answer.
    """
    if denoise <= 0:
        return _NOTHING
    return _ladder(scheduler, _whole_count(steps, denoise), levels, steps=steps)[-(steps + 1) :]


def cut(sigmas: Tensor, *, start: int = 0, end: int | None = None, leftover: bool = False) -> Tensor:
    """Return the steps ``start`` … ``end`` of a schedule, by KSamplerAdvanced's rule; none where nothing is left to be
    done.

    An ``end`` before the schedule's own, without ``leftover`` noise, replaces the last sigma by 0.
    """
    if end is not None and end < len(sigmas) - 1:
        sigmas = sigmas[: end + 1].clone()
        if not leftover:
            sigmas[-1] = 0
    return sigmas[start:] if start < len(sigmas) - 1 else _NOTHING


def stands_still(sampler: str, sigmas: Tensor) -> bool:
    """Return whether ``sampler`` would divide zero by zero because two of ``sigmas`` are equal."""
    record = sampler_named(sampler)
    if record.own_steps:  # its own steps lie between the ends, and those of third order come with four steps or more
        return not record.adaptive and len(sigmas) > 4 and bool(sigmas[0] == sigmas[sigmas > 0][-1])
    return record.divides_by_step and bool((sigmas[1:] == sigmas[:-1]).any())


def _whole_count(steps: int, denoise: float) -> int:
    """The steps of the whole schedule of which ``denoise`` runs the last ``steps``."""
    count = steps if denoise >= 1 else int(min(steps / denoise, 2 * MAX_SCHEDULE))
    if count > MAX_SCHEDULE:
        raise BadRequest("denoise", denoise, f"{steps / MAX_SCHEDULE:g} or more with {steps} steps")
    return count


def _ladder(scheduler: str, count: int, levels: NoiseLevels, *, discard: bool = False, steps: int) -> Tensor:
    """A whole schedule of ``count`` steps, or of one more without its last but one sigma (``discard``)."""
    record = SCHEDULERS[scheduler]
    if count + discard < record.least_steps:
        raise BadRequest("steps", steps, f"{record.least_steps} or more with the scheduler {scheduler}")
    curve = record.function(count + discard, levels)
    return torch.cat([curve[:-1] if discard else curve, torch.zeros(1)])
