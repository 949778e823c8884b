"""AUTOMATIC1111's schedules: a number of steps and a model's noise levels → falling sigmas, float32 on the CPU.

They agree with ComfyUI's of the same name but where a docstring says so. Knows no sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.a1111.levels import FractionalLevels
from engine.sampling.a1111.schedules import SCHEDULES
from engine.sampling.levels import NoiseLevels
from engine.sampling.schedules.curves import exponential_ramp, karras_ramp


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a schedule goes through beside a model's levels."""

    sigma_min: float
    """The smallest level above 0."""
    sigma_max: float
    """The largest level."""
    rho: float
    """The power of schedules that have one."""
    alpha: float = 0.6
    """The first shape of the beta distribution, above 0."""
    beta: float = 0.6
    """Its second shape, above 0."""


def sigmas(
    *,
    schedule: str,
    steps: int,
    levels: NoiseLevels,
    discard_penultimate: bool = False,
    sigma_min: float = 0.0,
    sigma_max: float = 0.0,
    rho: float = 0.0,
    alpha: float = 0.6,
    beta: float = 0.6,
) -> Tensor:
    """The levels of a schedule type, mostly (steps+1,) and ending at 0; ``kl_optimal`` ends at ``sigma_min``.

    ``discard_penultimate``: made for one step more, and the last but one left out. ``sigma_min``, ``sigma_max`` and
    ``rho`` are the model's and the schedule's own where they are 0. Raises ``BadRequest`` where they have no finite
    answer.
    """
    low, high = sigma_min or levels.sigma_min, sigma_max or levels.sigma_max
    if low >= high:
        raise BadRequest("sigma_min", low, f"a level below the largest, {high:g}")
    span = Span(sigma_min=low, sigma_max=high, rho=rho or SCHEDULES[schedule].rho or 0.0, alpha=alpha, beta=beta)
    curve = _CURVES[schedule](steps + discard_penultimate, levels, span)
    return torch.cat([curve[:-2], curve[-1:]]) if discard_penultimate else curve


def timesteps(steps: int, levels: NoiseLevels) -> Tensor:
    """The timesteps of samplers that know no sigmas: 1, 1 + s, 1 + 2s … up to the last, with s = count // ``steps``.

    Rising, float32. There may be more than ``steps``, and the first of them is not stepped from.
    """
    spacing = max(levels.count // steps, 1)
    return (torch.arange(0, levels.count, spacing) + 1).clamp(max=levels.count - 1).float()


def timestep_sigmas(*, steps: int, levels: NoiseLevels) -> Tensor:
    """The levels of ``timesteps``, falling, without a 0."""
    return levels.sigmas[timesteps(steps, levels).long()].flip(0)


def uni_pc_sigmas(*, steps: int, levels: FractionalLevels, times: str = "uniform", run: int = 0) -> Tensor:
    """As many intervals as there are ``timesteps``, from the last training timestep to the first, without a 0.

    ``run``: only so many of the lowest, from the last of them. ``times``: ``uniform`` and ``quadratic`` space (a
    root of) the time, ``log_snr`` the logarithm of sigma.
    """
    chosen, whole = timesteps(steps, levels), levels.count
    count, first = (run, (float(chosen[run - 1]) + 1) / whole) if run else (len(chosen), 1.0)
    if times == "log_snr":
        highest = float(levels.sigma_at_alpha_bar(torch.tensor(first * whole - 1)))
        return exponential_ramp(count + 1, highest, levels.sigma_min)
    power = 2 if times == "quadratic" else 1
    spaced = torch.linspace(first ** (1 / power), (1 / whole) ** (1 / power), count + 1) ** power
    return levels.sigma_at_alpha_bar((spaced * whole - 1).clamp(0, whole - 1))


def _uniform(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Evenly spaced timesteps between the model's own ends, whatever ``span`` says."""
    return _with_zero(levels.sigma_at(torch.linspace(levels.last_timestep, levels.first_timestep, n)))


def _karras(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364), equation 5."""
    return _with_zero(karras_ramp(n, span.sigma_max, span.sigma_min, span.rho))


def _exponential(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Sigmas whose logarithms fall evenly."""
    return _with_zero(exponential_ramp(n, span.sigma_max, span.sigma_min))


def _polyexponential(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Sigmas whose logarithms fall as the power ρ of an even ramp."""
    low, high = math.log(span.sigma_min), math.log(span.sigma_max)
    return _with_zero((torch.linspace(1, 0, n) ** span.rho * (high - low) + low).exp())


def _sgm_uniform(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Evenly spaced timesteps from the first down, one step short of the last."""
    return _with_zero(levels.sigma_at(_timesteps_between(span, levels, n + 1)[:-1]))


def _normal(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Evenly spaced timesteps between the ends of ``span``."""
    return _with_zero(levels.sigma_at(_timesteps_between(span, levels, n)))


def _timesteps_between(span: Span, levels: NoiseLevels, n: int) -> Tensor:
    high, low = (levels.timestep(torch.tensor(sigma)) for sigma in (span.sigma_max, span.sigma_min))
    return torch.linspace(high, low, n)


def _kl_optimal(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Sabour et al. 2024 (arXiv 2404.14507), theorem 3.1, with n steps from end to end and none to 0."""
    share = torch.arange(n + 1, dtype=torch.float32) / n
    low, high = math.atan(span.sigma_min), math.atan(span.sigma_max)
    return (share * low + (1 - share) * high).tan()


_ALIGN_YOUR_STEPS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
"""Sabour et al. 2024 (Align Your Steps), for Stable Diffusion 1, rounded as they were published first."""


def _align_your_steps(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """The published levels, log-linear between them for other numbers than 11; ComfyUI's replaces the last by 0."""
    table = np.array(_ALIGN_YOUR_STEPS)
    if n != len(table):
        places = np.linspace(0, 1, n), np.linspace(0, 1, len(table))
        table = np.exp(np.interp(*places, np.log(table[::-1])))[::-1].copy()
    return _with_zero(torch.from_numpy(table).float())


def _simple(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Training sigmas at equal distances from the top."""
    return _with_zero(levels.sigmas[[-1 - int(step * (levels.count / n)) for step in range(n)]])


def _ddim_uniform(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Training sigmas 1, 1 + s, 1 + 2s … for a whole number s of about count/n, hence not always n of them."""
    return _with_zero(levels.sigmas[1 :: max(levels.count // n, 1)].flip(0))


def _beta(n: int, levels: NoiseLevels, span: Span) -> Tensor:
    """Quantiles of a beta distribution of sigma itself; in ComfyUI (and arXiv 2407.12173) it is one of timesteps."""
    quantiles = betaincinv(span.alpha, span.beta, 1 - np.linspace(0, 1, n))
    return _with_zero(torch.from_numpy(span.sigma_min + quantiles * (span.sigma_max - span.sigma_min)).float())


def _with_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, torch.zeros(1)])


_CURVES: Mapping[str, Callable[[int, NoiseLevels, Span], Tensor]] = MappingProxyType(
    {
        "uniform": _uniform,
        "karras": _karras,
        "exponential": _exponential,
        "polyexponential": _polyexponential,
        "sgm_uniform": _sgm_uniform,
        "kl_optimal": _kl_optimal,
        "align_your_steps": _align_your_steps,
        "simple": _simple,
        "normal": _normal,
        "ddim_uniform": _ddim_uniform,
        "beta": _beta,
    }
)
