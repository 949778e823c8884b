"""One sampling in flight: its sampler, how far it is, and what it wants predicted next.

Hides the generator protocol of the samplers from the rest of the engine. Knows no network and no other trajectory.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.batching.denoiser import Denoiser, Evaluation
from engine.batching.guidance import Guidance
from engine.device.transfer import Fetch
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampler, Scalar, Stage
from engine.sampling.samplers.table import SAMPLERS


class Trajectory:
    """A sampler at work on x, one whole batch: float32 (B, 4, h, w).

    ``denoiser`` makes its predictions. Trajectories of one ``group`` may share calls; the ``owner`` s of the
    trajectories in flight take turns.
    """

    def __init__(
        self,
        *,
        sampler: str,
        x: Tensor,
        sigmas: Tensor,
        noise: StepNoise,
        guidance: Guidance,
        denoiser: Denoiser,
        owner: Hashable = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """``x`` is the first x, on the device; ``sigmas`` are float32 (n+1,) on the CPU."""
        record = SAMPLERS[sampler]
        self.denoiser = denoiser
        self.owner = owner
        self.pictures: int = x.shape[0]
        self.steps: int | None = None if record.adaptive else len(sigmas) - 1
        """Steps in all; None where the sampler decides as it goes."""
        self._total = (
            None
            if record.adaptive
            else evaluation_count(sampler, len(sigmas), to_zero=bool(sigmas[-1] == 0), options=tuple(options))
        )
        self._guidance = guidance
        self._branches = denoiser.with_common_length(guidance.branches)
        self._pair = record.needs_unconditional
        self._evaluated = 0
        self._at_once = denoiser.pictures_at_once(len(self._branches))
        self._wanted: tuple[Tensor, Tensor] | None = None  # the x and sigma of the evaluation under way
        self._scalar: Fetch | None = None
        self._pieces: deque[Evaluation] = deque()
        self._predicted: list[tuple[Tensor, ...]] = []
        self._result: Tensor | None = None
        self.latest = 0
        """Pictures of the latest evaluation that was answered."""
        self.denoised: Tensor | None = None
        """The prediction of the latest step's first evaluation, float32 (B, 4, h, w) on the device."""
        self._sampling = _function(sampler, tuple(options))(x, sigmas, noise)
        self._resume(None)
        first = self.evaluation(wait=True)
        self.group: Hashable = denoiser.group(first) if first is not None else None
        self.rows = first.rows if first is not None else 0

    @property
    def x(self) -> Tensor | None:
        """The final x, float32 (B, 4, h, w), once the sampler is through."""
        return self._result

    @property
    def step(self) -> int:
        """Steps done, 0 … ``steps``. Samplers with several evaluations a step advance by their share of them."""
        if self._total is None or self.steps is None:
            return self._evaluated
        return self._evaluated * self.steps // max(self._total, 1)

    def evaluation(self, *, wait: bool = False) -> Evaluation | None:
        """What is to be predicted next: what the sampler wants, a large batch in pieces that fit into one UNet call.

        None while the sampler waits for a number from the device, unless ``wait`` says to wait for it, and once it is
        through.
        """
        while self._scalar is not None and (wait or self._scalar.ready()):
            fetched, self._scalar = self._scalar, None
            self._resume(float(fetched.value()))
        return self._pieces[0] if self._pieces else None

    def send(self, eps: tuple[Tensor, ...]) -> None:
        """Take in each branch's eps for the latest ``evaluation``; what the sampler raises comes out here.

        Once the whole batch is predicted, the sampler is handed its denoised prediction and runs up to its next wish.
        """
        self._pieces.popleft()
        self.latest = eps[0].shape[0]
        self._predicted.append(eps)
        if self._pieces:
            return
        assert self._wanted is not None
        whole = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*self._predicted, strict=True)]
        self._predicted = []
        denoised = self._guidance.denoised(*self._wanted, whole)
        if not isinstance(self._wanted, Stage):
            self.denoised = denoised
        self._evaluated += 1
        pair = (denoised, self._guidance.unconditional(*self._wanted, whole)) if self._pair else None
        self._resume(denoised if pair is None else pair)

    def close(self) -> None:
        """End the sampler where it stands."""
        self._sampling.close()

    def _resume(self, answer: Any) -> None:
        try:
            wanted = self._sampling.send(answer)
        except StopIteration as stop:
            self._result = stop.value
            return
        if isinstance(wanted, Scalar):
            self._scalar = Fetch(wanted.tensor)
            return
        x, sigma = self._wanted = wanted
        self._pieces.extend(
            Evaluation(x=piece, sigma=sigma, branches=self._branches) for piece in x.split(self._at_once)
        )


def _function(sampler: str, options: tuple[tuple[str, Any], ...]) -> Sampler:
    """The sampler's function, with ``options`` in place of its defaults."""
    record = SAMPLERS[sampler]
    function = record.configured(dict(options))
    return functools.partial(function, levels=STABLE_DIFFUSION_1) if record.needs_levels else function


_DRY_SIGMAS = 10


class _Silence:
    """Noise for a dry run."""

    def white(self) -> Tensor:
        return torch.zeros(1, 1, 1, 1)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.zeros(1, 1, 1, 1)


@functools.lru_cache(maxsize=256)
def evaluation_count(
    sampler: str, sigma_count: int, *, to_zero: bool = True, options: tuple[tuple[str, Any], ...] = ()
) -> int:
    """How many evaluations ``sampler`` needs for ``sigma_count`` sigmas, found by a dry run.

    ``to_zero``: whether they end at 0, a step that many samplers make in another way. Each further sigma costs as many
    evaluations as the last: long schedules are not run through.
    """
    if sigma_count > _DRY_SIGMAS:
        counts = (_DRY_SIGMAS, _DRY_SIGMAS - 1)
        longest, shorter = (evaluation_count(sampler, count, to_zero=to_zero, options=options) for count in counts)
        return longest + (sigma_count - _DRY_SIGMAS) * (longest - shorter)
    record, sigmas = SAMPLERS[sampler], torch.linspace(10.0, 0.0 if to_zero else 1.0, sigma_count)
    dry = _function(sampler, options)(torch.zeros(1, 1, 1, 1), sigmas, _Silence())
    count = 0
    try:
        wanted = next(dry)
        while True:
            assert not isinstance(wanted, Scalar), f"{sampler} goes by what it sees; its evaluations cannot be counted"
            count += 1
            wanted = dry.send((wanted[0], wanted[0]) if record.needs_unconditional else wanted[0])
    except StopIteration:
        return count
