"""DPM-Solver (Lu et al. 2022, arXiv 2206.00927): exponential integrators of eps in t = −log σ.

Both samplers here make their own steps between the ends of the schedule, and end at its last positive sigma. Their
orders 1, 2 and 3 are the paper's equation 3.7, algorithm 1 and algorithm 2; how to string them together, its appendix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import AdaptiveSampling, Sampling, Scalar
from engine.sampling.samplers.steps import log_snr


def _sigma(t: Tensor) -> Tensor:
    return t.neg().exp()


def _eps(x: Tensor, t: Tensor) -> Sampling:
    denoised = yield x, _sigma(t)
    return (x - denoised) / _sigma(t)


def _first_order(x: Tensor, eps: Tensor, h: Tensor, t_next: Tensor) -> Tensor:
    """x at ``t_next``, ``h`` after t, from eps at t."""
    return x - _sigma(t_next) * h.expm1() * eps


def _second_order(x: Tensor, eps: Tensor, eps1: Tensor, r: float, h: Tensor, t_next: Tensor) -> Tensor:
    """As ``_first_order``, with ``eps1`` at t + r·h too."""
    return _first_order(x, eps, h, t_next) - _sigma(t_next) / (2 * r) * h.expm1() * (eps1 - eps)


def _third_order(x: Tensor, eps: Tensor, eps2: Tensor, r: float, h: Tensor, t_next: Tensor) -> Tensor:
    """As ``_first_order``, with ``eps2`` at t + r·h too; also what takes x from there to algorithm 2's second stage."""
    return _first_order(x, eps, h, t_next) - _sigma(t_next) / r * (h.expm1() / h - 1) * (eps2 - eps)


def dpm_fast(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """DPM-Solver-fast: n evaluations in steps of equal length in t, of order 3 but for the last one or two."""
    n = len(sigmas) - 1
    orders = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    times = torch.linspace(float(log_snr(sigmas[0])), float(log_snr(sigmas[-2])), len(orders) + 1)
    for order, t, t_next in zip(orders, times[:-1], times[1:], strict=True):
        h = t_next - t
        eps = yield from _eps(x, t)
        if order == 1:
            x = _first_order(x, eps, h, t_next)
        elif order == 2:
            eps1 = yield from _stage(x, eps, t, h, 1 / 2)
            x = _second_order(x, eps, eps1, 1 / 2, h, t_next)
        else:
            eps1 = yield from _stage(x, eps, t, h, 1 / 3)
            eps2 = yield from _second_stage(x, eps, eps1, t, h)
            x = _third_order(x, eps, eps2, 2 / 3, h, t_next)
    return x


def _stage(x: Tensor, eps: Tensor, t: Tensor, h: Tensor, r: float) -> Sampling:
    """eps at t + r·h, reached by a first-order step."""
    return (yield from _eps(_first_order(x, eps, r * h, t + r * h), t + r * h))


def _second_stage(x: Tensor, eps: Tensor, eps1: Tensor, t: Tensor, h: Tensor) -> Sampling:
    """eps at t + ⅔h of algorithm 2, from ``eps`` at t and ``eps1`` at t + ⅓h."""
    r = 2 / 3
    return (yield from _eps(_third_order(x, eps, eps1, 1 / 2, r * h, t + r * h), t + r * h))


def dpm_adaptive(x: Tensor, sigmas: Tensor, noise: StepNoise) -> AdaptiveSampling:
    """DPM-Solver-23: steps of order 3 whose lengths follow from the distance to one of order 2.

    Tolerances, first step and the step's controller are k-diffusion's. The one sampler that waits for a number.
    """
    absolute, relative, h_next, safety = 0.0078, 0.05, 0.05, 0.81
    t, end = log_snr(sigmas[0]), log_snr(sigmas[-2])
    previous = x
    eps: Tensor | None = None
    while t < end - 1e-5:
        t_next = torch.minimum(end, t + h_next)
        h = t_next - t
        if eps is None:  # a rejected step's stays valid
            eps = yield from _eps(x, t)
        eps1 = yield from _stage(x, eps, t, h, 1 / 3)
        eps2 = yield from _second_stage(x, eps, eps1, t, h)
        low = _second_order(x, eps, eps1, 1 / 3, h, t_next)
        high = _third_order(x, eps, eps2, 2 / 3, h, t_next)
        tolerance = (relative * torch.maximum(low.abs(), previous.abs())).clamp(min=absolute)
        error: float = yield Scalar(torch.linalg.vector_norm((low - high) / tolerance) / x.numel() ** 0.5)
        if math.isnan(error):  # no step would ever be accepted
            return high
        factor = 1 + math.atan((error + 1e-8) ** (-1 / 3) - 1)
        h_next *= factor
        if factor >= safety:
            x, previous, t, eps = high, low, t_next, None
    return x
