"""Samplers that first add noise and then go down (Karras et al. 2022, arXiv 2206.00364, algorithm 2).

As in k-diffusion, a step draws its noise whether it adds any or not. Without churn none is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.runge_kutta import heun_step, midpoint_step
from engine.sampling.samplers.steps import intervals, slope


def euler(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Sampling:
    """Algorithm 2 without its lines 7 to 8: Euler's method from the raised level."""
    for raised, sigma, sigma_next in _raised(sigmas, s_churn, s_tmin, s_tmax):
        x = _with_noise(x, noise, sigma, raised, s_churn, s_noise)
        denoised = yield x, raised
        x = x + slope(x, raised, denoised) * (sigma_next - raised)
    return x


def heun(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Sampling:
    """Algorithm 2."""
    for raised, sigma, sigma_next in _raised(sigmas, s_churn, s_tmin, s_tmax):
        x = _with_noise(x, noise, sigma, raised, s_churn, s_noise)
        x = yield from heun_step(x, raised, sigma_next)
    return x


def dpm_2(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Sampling:
    """The midpoint rule of ``runge_kutta.dpm_2`` from the raised level."""
    for raised, sigma, sigma_next in _raised(sigmas, s_churn, s_tmin, s_tmax):
        x = _with_noise(x, noise, sigma, raised, s_churn, s_noise)
        x = yield from midpoint_step(x, raised, sigma_next)
    return x


def _raised(sigmas: Tensor, s_churn: float, s_tmin: float, s_tmax: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, for each step, the level that noise is added up to, its own, and the next."""
    most = min(s_churn / max(len(sigmas) - 1, 1), math.sqrt(2) - 1)
    for sigma, sigma_next in intervals(sigmas):
        yield (sigma * (1 + most) if s_tmin <= sigma <= s_tmax else sigma), sigma, sigma_next


def _with_noise(x: Tensor, noise: StepNoise, sigma: Tensor, raised: Tensor, s_churn: float, s_noise: float) -> Tensor:
    if not s_churn:
        return x
    drawn = noise.white()
    return x + drawn * s_noise * (raised**2 - sigma**2).sqrt() if raised > sigma else x
