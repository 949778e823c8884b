"""Steps, scheduler and denoise → sigmas; sigma → timestep.

Knows the 1000 noise levels that the model was trained on. Knows no sampler but by name, no model and no device:
sigmas are float32 on the CPU, where a sampler reads them without waiting for the device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from engine.errors import BadRequest


def _training_sigmas() -> Tensor:
    """σ = sqrt((1 − ᾱ)/ᾱ) for betas whose roots rise evenly (Rombach et al. 2022); (1000,) float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas_bar = torch.cumprod(1 - betas, dim=0)
    return ((1 - alphas_bar) / alphas_bar) ** 0.5


_float64_sigmas = _training_sigmas()
TRAINING_SIGMAS = _float64_sigmas.float()  # (1000,) rising
LOG_TRAINING_SIGMAS = _float64_sigmas.log().float()  # (1000,) rising
SIGMA_MIN = TRAINING_SIGMAS[0].item()
SIGMA_MAX = TRAINING_SIGMAS[-1].item()
_LAST = len(TRAINING_SIGMAS) - 1

MAX_SCHEDULE = 100_000
"""Most steps of a whole schedule, of which ``denoise`` below 1 runs the end."""

_DISCARD_PENULTIMATE = frozenset({"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"})
"""Get a schedule of one more step without its last but one sigma."""

_DIVIDE_BY_STEP = frozenset(
    {"lms", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"}
    | {"uni_pc", "uni_pc_bh2", "ipndm_v", "deis", "res_multistep"}
)
"""Have no finite answer where two neighbouring sigmas are equal."""


@functools.lru_cache(maxsize=128)  # a job asks when it is checked, submitted and begun, for each of its pictures
def sigmas(*, sampler: str, scheduler: str, steps: int, denoise: float) -> Tensor:
    """The noise levels that ``sampler`` passes through: (n+1,) float32 on the CPU, falling, ending at 0.

    n is ``steps``, but for ddim_uniform and beta, which may give another number. ``denoise`` (0, 1] runs the end of a
    schedule of ``steps / denoise`` steps. To be read only: the next one who asks gets the same tensor.
    Raises ``BadRequest`` for what has no finite answer.
    """
    count = steps if denoise > 0.9999 else int(min(steps / denoise, 2 * MAX_SCHEDULE))
    if count > MAX_SCHEDULE:
        raise BadRequest("denoise", denoise, f"{steps / MAX_SCHEDULE:g} or more with {steps} steps")
    discard = sampler in _DISCARD_PENULTIMATE
    if scheduler == "kl_optimal" and count + discard == 1:
        raise BadRequest("steps", steps, "2 or more with the scheduler kl_optimal")
    levels = _SCHEDULES[scheduler](count + discard)
    levels = torch.cat([levels[:-1] if discard else levels, torch.zeros(1)])
    if denoise <= 0.9999:
        levels = levels[-(steps + 1) :]
    if _stands_still(levels, sampler):  # only ``simple`` repeats sigmas, where it has more steps than there are
        most = len(TRAINING_SIGMAS) - discard
        raise BadRequest("steps", steps, f"steps / denoise up to {most} with sampler {sampler}, scheduler {scheduler}")
    return levels


def _stands_still(levels: Tensor, sampler: str) -> bool:
    """Whether ``sampler`` would divide zero by zero, for want of distance between ``levels``."""
    if sampler == "dpm_fast":  # makes its own steps between the ends; the third-order ones come with four steps or more
        return len(levels) > 4 and bool(levels[0] == levels[-2])
    return sampler in _DIVIDE_BY_STEP and bool((levels[1:] == levels[:-1]).any())


def timestep(sigma: Tensor) -> int:
    """The training timestep, 0 … 999, whose log sigma is nearest to that of ``sigma`` (0-dim float32 on the CPU)."""
    return int((sigma.log() - LOG_TRAINING_SIGMAS).abs().argmin())


def is_full_noise(sigma: Tensor) -> bool:
    """Whether a schedule that begins at ``sigma`` begins at (or above) the model's largest sigma."""
    first = float(sigma)
    return first > SIGMA_MAX or math.isclose(first, SIGMA_MAX, rel_tol=1e-5)


def start(noise: Tensor, sigma: Tensor) -> Tensor:
    """The x at which sampling of an empty latent begins, from unit ``noise`` and the schedule's first ``sigma``.

    At full noise its variance is 1 + σ², as of noised latents of unit variance; below, the empty latent adds none.
    """
    return noise * torch.sqrt(1.0 + sigma**2) if is_full_noise(sigma) else noise * sigma


def _interpolated(timesteps: Tensor) -> Tensor:
    """Sigmas at fractional timesteps in [0, 999], interpolated in log space."""
    low, high = timesteps.floor().long(), timesteps.ceil().long()
    weight = timesteps.frac()
    return ((1 - weight) * LOG_TRAINING_SIGMAS[low] + weight * LOG_TRAINING_SIGMAS[high]).exp()


def _normal(n: int) -> Tensor:
    return _interpolated(torch.linspace(_LAST, 0, n))


def _sgm_uniform(n: int) -> Tensor:
    return _interpolated(torch.linspace(_LAST, 0, n + 1)[:-1])


def _karras(n: int, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022, equation 5."""
    largest, smallest = SIGMA_MAX ** (1 / rho), SIGMA_MIN ** (1 / rho)
    sigmas: Tensor = (largest + torch.linspace(0, 1, n) * (smallest - largest)) ** rho
    return sigmas


def _exponential(n: int) -> Tensor:
    return torch.linspace(math.log(SIGMA_MAX), math.log(SIGMA_MIN), n).exp()


def _kl_optimal(n: int) -> Tensor:
    """Sabour et al. 2024 (Align Your Steps), theorem 3.1: the arc tangents of the sigmas fall evenly."""
    ramp = torch.arange(n, dtype=torch.float32) / (n - 1)
    return (ramp * math.atan(SIGMA_MIN) + (1 - ramp) * math.atan(SIGMA_MAX)).tan()


def _simple(n: int) -> Tensor:
    """Training sigmas at equal distances from the top; some of them twice where n > 1000."""
    places = (torch.arange(n, dtype=torch.float64) * (len(TRAINING_SIGMAS) / n)).long()
    return TRAINING_SIGMAS[_LAST - places]


def _ddim_uniform(n: int) -> Tensor:
    """Training sigmas 1, 1 + s, 1 + 2s, … for a whole number s of about 1000/n, hence not always n of them."""
    return TRAINING_SIGMAS[1 :: max(len(TRAINING_SIGMAS) // n, 1)].flip(0)


def _beta(n: int) -> Tensor:
    """Lee et al. 2024, arXiv 2407.12173: timesteps at the quantiles of Beta(0.6, 0.6), each of them once."""
    if n > 2 * len(TRAINING_SIGMAS):  # then each timestep is a quantile's nearest
        return TRAINING_SIGMAS.flip(0)
    quantiles = betaincinv(0.6, 0.6, 1 - np.linspace(0, 1, n, endpoint=False))
    timesteps = torch.from_numpy(np.rint(quantiles * _LAST)).long()
    return TRAINING_SIGMAS[torch.unique(timesteps).flip(0)]


def _linear_quadratic(n: int, threshold: float = 0.025) -> Tensor:
    """Polyak et al. 2024 (Movie Gen), section 3.4.2: half the steps cover 2.5 % evenly, the rest accelerate."""
    linear = max(n // 2, 1)
    step = torch.arange(n, dtype=torch.float64)
    acceleration = (1 - threshold * n / linear) / max(n - linear, 1) ** 2
    covered = step * threshold / linear + acceleration * (step - linear).clamp(min=0) ** 2
    return (1 - covered).float() * SIGMA_MAX


_SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
    "linear_quadratic": _linear_quadratic,
    "kl_optimal": _kl_optimal,
}
