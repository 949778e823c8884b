"""Schedules with parameters of their own, as ComfyUI's sigma nodes have them.

All return float32 on the CPU and raise ``BadRequest``, naming the parameter, for values without a finite answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.schedules.curves import beta_quantiles, exponential_ramp, karras_ramp


def karras(*, steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022, equation 5, between any two sigmas: (steps+1,), ending at 0."""
    _check_ends(steps, sigma_max, sigma_min)
    _above_zero("rho", rho)
    return _with_zero(karras_ramp(steps, sigma_max, sigma_min, rho))


def exponential(*, steps: int, sigma_max: float, sigma_min: float) -> Tensor:
    """Return sigmas whose logarithms fall evenly: (steps+1,), ending at 0."""
    _check_ends(steps, sigma_max, sigma_min)
    return _with_zero(exponential_ramp(steps, sigma_max, sigma_min))


def polyexponential(*, steps: int, sigma_max: float, sigma_min: float, rho: float = 1.0) -> Tensor:
    """Return sigmas whose logarithms fall as the power ``rho`` (0 or more) of an even ramp: (steps+1,), ending at 0."""
    _check_ends(steps, sigma_max, sigma_min)
    if not 0 <= rho < math.inf:
        raise BadRequest("rho", rho, "a number from 0")
    ramp = torch.linspace(1, 0, steps) ** rho
    return _with_zero((ramp * (math.log(sigma_max) - math.log(sigma_min)) + math.log(sigma_min)).exp())


def laplace(*, steps: int, sigma_max: float, sigma_min: float, mu: float = 0.0, beta: float = 0.5) -> Tensor:
    """Log sigmas at the quantiles of a Laplace distribution (Hang & Gu 2024, arXiv 2407.03297): (steps,), **no 0**.

    ``mu`` is the distribution's middle in log sigma, ``beta`` its width. Sigmas beyond either end are the end itself.
    """
    _check_ends(steps, sigma_max, sigma_min)
    if sigma_min > sigma_max:
        raise BadRequest("sigma_min", sigma_min, f"at most sigma_max, {sigma_max:g}")
    for name, value in (("mu", mu), ("beta", beta)):
        if not math.isfinite(value):
            raise BadRequest(name, value, "a finite number")
    from_middle = 0.5 - torch.linspace(0, 1, steps)
    log_sigmas = mu - beta * from_middle.sign() * (1 - 2 * from_middle.abs() + 1e-5).log()
    return log_sigmas.exp().clamp(min=sigma_min, max=sigma_max)


def vp(*, steps: int, beta_d: float = 19.9, beta_min: float = 0.1, eps_s: float = 0.001) -> Tensor:
    """Evenly spaced times, from 1 to ``eps_s``, of the VP process of Song et al. 2021: (steps+1,), ending at 0.

    σ(t) = sqrt(exp(βd·t²/2 + βmin·t) − 1): Karras et al. 2022, table 1.
    """
    _at_least_one_step(steps)
    _above_zero("eps_s", eps_s)
    for name, value in (("beta_d", beta_d), ("beta_min", beta_min)):
        if not 0 <= value < math.inf:
            raise BadRequest(name, value, "a number from 0")
    t = torch.linspace(1, eps_s, steps)
    sigmas = torch.expm1(beta_d * t**2 / 2 + beta_min * t).sqrt()
    if not bool(((sigmas > 0) & sigmas.isfinite()).all()):
        raise BadRequest("beta_d", beta_d, "a beta_d and beta_min whose sigmas are above 0 and finite in float32")
    return _with_zero(sigmas)


def sd_turbo(*, steps: int, denoise: float = 1.0, levels: NoiseLevels = STABLE_DIFFUSION_1) -> Tensor:
    """Return the sigmas at timesteps 999, 899 … of SD-Turbo (Sauer et al. 2023): (at most steps+1,), ending at 0.

    ``denoise`` (0 … 1) leaves out the first of the ten timesteps; ``steps`` (1 … 10) of the rest are run, or all of
    them where they are fewer.
    """
    if not 1 <= steps <= 10:
        raise BadRequest("steps", steps, "a whole number from 1 to 10")
    _check_share("denoise", denoise)
    first = 10 - int(10 * denoise)
    timesteps = torch.arange(999, -1, -100, dtype=torch.float32)[first : first + steps]
    sigmas = levels.sigma_at(timesteps)
    if not bool(sigmas.isfinite().all()):
        raise BadRequest("model", "continuous levels", "a model that has training timesteps")
    return _with_zero(sigmas)


def beta_sampling(
    *, steps: int, alpha: float = 0.6, beta: float = 0.6, levels: NoiseLevels = STABLE_DIFFUSION_1
) -> Tensor:
    """Timesteps at the quantiles of Beta(``alpha``, ``beta``), each once: (at most steps+1,), ending at 0.

    Lee et al. 2024 (arXiv 2407.12173).
    """
    _at_least_one_step(steps)
    _above_zero("alpha", alpha)
    _above_zero("beta", beta)
    return _with_zero(beta_quantiles(steps, levels, alpha, beta))


_ALIGN_YOUR_STEPS: Mapping[str, tuple[float, ...]] = {
    "SD1": (
        *(14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092),
        *(0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582),
    ),
    "SDXL": (
        *(14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141),
        *(0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582),
    ),
    "SVD": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""The published ten-step schedules of Align Your Steps by model family; the last sigma is replaced by 0."""

ALIGN_YOUR_STEPS_MODELS = tuple(_ALIGN_YOUR_STEPS)


def align_your_steps(*, model_type: str = "SD1", steps: int, denoise: float = 1.0) -> Tensor:
    """Sabour et al. 2024 (Align Your Steps): the optimised ten steps, log-linear between them for other ``steps``.

    ``denoise`` below 1 runs the last ``round(steps · denoise)`` steps, 0 none. (at most steps+1,), ending at 0.
    """
    if model_type not in _ALIGN_YOUR_STEPS:
        raise BadRequest("model_type", model_type, f"one of {', '.join(_ALIGN_YOUR_STEPS)}")
    _at_least_one_step(steps)
    _check_share("denoise", denoise)
    if denoise == 0:
        return torch.zeros(0)
    table = np.array(_ALIGN_YOUR_STEPS[model_type])
    if steps + 1 != len(table):
        places = np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(table))
        table = np.exp(np.interp(*places, np.log(table[::-1])))[::-1].copy()
    count = steps if denoise == 1 else round(steps * denoise)
    sigmas = torch.from_numpy(table).float()[-(count + 1) :]
    return _with_zero(sigmas[:-1])


def _with_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, torch.zeros(1)])


def _check_ends(steps: int, sigma_max: float, sigma_min: float) -> None:
    _at_least_one_step(steps)
    _above_zero("sigma_max", sigma_max)
    _above_zero("sigma_min", sigma_min)


def _at_least_one_step(steps: int) -> None:
    if steps < 1:
        raise BadRequest("steps", steps, "a whole number from 1")


def _above_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise BadRequest(name, value, "a number above 0")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise BadRequest(name, value, "a number from 0 to 1")
