"""DPM-Solver (Lu et al. 2022, arXiv 2206.00927): exponential integrators of eps in t = −log σ.

Both samplers here make their own steps between the ends of the schedule, and end at its last positive sigma. Their
orders 1, 2 and 3 are the paper's equation 3.7, algorithm 1 and algorithm 2; its appendix says how they are combined.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from engine.errors import BadRequest, GenerationFailed
from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import AdaptiveSampling, Sampling, Scalar, Stage
from engine.sampling.samplers.steps import ancestral_split, last_positive, log_snr


def _sigma(t: Tensor) -> Tensor:
    return t.neg().exp()


def _eps(x: Tensor, t: Tensor, *, stage: bool = False) -> Sampling:
    denoised = yield Stage(x, _sigma(t)) if stage else (x, _sigma(t))
    return (x - denoised) / _sigma(t)


def _first_order(x: Tensor, eps: Tensor, h: Tensor, t_next: Tensor) -> Tensor:
    """x at ``t_next``, ``h`` after t, from eps at t."""
    return x - _sigma(t_next) * h.expm1() * eps


def _second_order(x: Tensor, eps: Tensor, eps1: Tensor, r: float, h: Tensor, t_next: Tensor) -> Tensor:
    """As ``_first_order``, with ``eps1`` at t + r·h as well."""
    return _first_order(x, eps, h, t_next) - _sigma(t_next) / (2 * r) * h.expm1() * (eps1 - eps)


def _third_order(x: Tensor, eps: Tensor, eps2: Tensor, r: float, h: Tensor, t_next: Tensor) -> Tensor:
    """As ``_first_order``, with ``eps2`` at t + r·h as well; algorithm 2's second stage is reached by it too."""
    return _first_order(x, eps, h, t_next) - _sigma(t_next) / r * (h.expm1() / h - 1) * (eps2 - eps)


def dpm_fast(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """DPM-Solver-fast: n evaluations in steps of equal length in t, of order 3 but for the last one or two."""
    n, times = len(sigmas) - 1, (log_snr(sigmas[0]), log_snr(last_positive(sigmas)))
    return (yield from _fast(x, n, *times, noise, eta=0.0, s_noise=0.0))


def dpm_fast_ancestral(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    levels: NoiseLevels,
    eta: float = 1.0,
    s_noise: float = 1.0,
    n: int = 0,
    whole: int = 0,
) -> Sampling:
    """``dpm_fast`` down to σ_down, then noise up to where the step ends.

    ``n``: the evaluations; 0: as many as ``sigmas`` have intervals. ``whole``: 1 goes from the model's largest level to
    its smallest, wherever ``sigmas`` begin and end.
    """
    times = _ends(sigmas, levels, whole)
    return (yield from _fast(x, n or len(sigmas) - 1, *times, noise, eta=eta, s_noise=s_noise))


def _ends(sigmas: Tensor, levels: NoiseLevels, whole: int) -> tuple[Tensor, Tensor]:
    """Where a sampler with steps of its own begins and ends, in t."""
    first, last = (levels.sigmas[-1], levels.sigmas[0]) if whole else (sigmas[0], last_positive(sigmas))
    return log_snr(first), log_snr(last)


def _fast(x: Tensor, n: int, begin: Tensor, end: Tensor, noise: StepNoise, *, eta: float, s_noise: float) -> Sampling:
    orders = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    times = torch.linspace(float(begin), float(end), len(orders) + 1)
    for order, t, reached in zip(orders, times[:-1], times[1:], strict=True):
        t_next, up = _down_and_up(t, reached, end, eta)
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
        if eta and s_noise:
            x = x + up * s_noise * noise.white()
    return x


def _stage(x: Tensor, eps: Tensor, t: Tensor, h: Tensor, r: float) -> Sampling:
    """eps at t + r·h, reached by a first-order step."""
    return (yield from _eps(_first_order(x, eps, r * h, t + r * h), t + r * h, stage=True))


def _second_stage(x: Tensor, eps: Tensor, eps1: Tensor, t: Tensor, h: Tensor) -> Sampling:
    """eps at t + ⅔h of algorithm 2, from ``eps`` at t and ``eps1`` at t + ⅓h."""
    r = 2 / 3
    return (yield from _eps(_third_order(x, eps, eps1, 1 / 2, r * h, t + r * h), t + r * h, stage=True))


_LEAST_STEP = 1e-5
"""What is left at the end of the schedule, in t, and no longer worth a step."""

_MOST_REJECTIONS = 100
"""The most rejected steps in a row; the default options reject two or three."""

_TINY = 1e-30
"""Keeps errors and their inverses finite where both tolerances are 0."""


def dpm_adaptive(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    order: int = 3,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h_init: float = 0.05,
    pcoeff: float = 0.0,
    icoeff: float = 1.0,
    dcoeff: float = 0.0,
    accept_safety: float = 0.81,
    eta: float = 0.0,
    s_noise: float = 1.0,
    whole: int = 0,
    anew: int = 0,
    levels: NoiseLevels = STABLE_DIFFUSION_1,
) -> AdaptiveSampling:
    """DPM-Solver-23, or -12 for ``order`` 2: step lengths follow from the distance to a solution of one order less.

    Tolerances and the PID controller are k-diffusion's; ``h_init`` is the first step in t. The one sampler that
    waits for a number. ``anew``: 1 evaluates the start of a rejected step again, which a prompt's schedule counts.
    ``whole``: as for ``dpm_fast_ancestral``. Raises ``BadRequest`` for another order or no tolerance,
    ``GenerationFailed`` where no step meets it.
    """
    _check(order, rtol, atol)
    controller = _Controller(coefficients=(pcoeff, icoeff, dcoeff), order=1.5 if eta else order, safety=accept_safety)
    (t, end), h_next = _ends(sigmas, levels, whole), abs(h_init)
    previous, rejected = x, 0
    eps: Tensor | None = None
    while t < end - _LEAST_STEP:
        reached = torch.minimum(end, t + h_next)
        if h_next < _LEAST_STEP or rejected > _MOST_REJECTIONS:
            raise GenerationFailed("dpm_adaptive: only steps too short meet rtol and atol (or h_init is one)")
        t_next, up = _down_and_up(t, reached, end, eta)
        eps = (yield from _eps(x, t)) if eps is None or anew else eps  # a rejected step's stays valid
        low, high = yield from _two_solutions(x, eps, t, t_next, order)
        tolerance = (rtol * torch.maximum(low.abs(), previous.abs())).clamp(min=max(atol, _TINY))
        error: float = yield Scalar(torch.linalg.vector_norm((low - high) / tolerance) / x.numel() ** 0.5)
        if math.isnan(error):  # no step would ever be accepted
            return high
        factor, accepted = controller.judge(error)
        h_next *= factor
        rejected += 1
        if accepted:
            x, previous, t, eps, rejected = high, low, reached, None, 0
            if eta and s_noise:
                x = x + up * s_noise * noise.white()
    return x


def _check(order: int, rtol: float, atol: float) -> None:
    if order not in (2, 3):
        raise BadRequest("order", order, "2 or 3")
    if rtol <= 0 and atol <= 0:
        raise BadRequest("rtol", rtol, "a number above 0 where atol is 0")


def _down_and_up(t: Tensor, reached: Tensor, end: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """Where a step from ``t`` to ``reached`` goes without noise, at most to ``end``, and the noise that leads back."""
    if not eta:
        return reached, torch.zeros(())
    down = torch.minimum(end, log_snr(ancestral_split(_sigma(t), _sigma(reached), eta)[0]))
    return down, (_sigma(reached) ** 2 - _sigma(down) ** 2).sqrt()


def _two_solutions(
    x: Tensor, eps: Tensor, t: Tensor, t_next: Tensor, order: int
) -> Generator[tuple[Tensor, Tensor], Tensor, tuple[Tensor, Tensor]]:
    """x at ``t_next`` to one order less, and to ``order``."""
    h = t_next - t
    if order == 2:
        eps1 = yield from _stage(x, eps, t, h, 1 / 2)
        return _first_order(x, eps, h, t_next), _second_order(x, eps, eps1, 1 / 2, h, t_next)
    eps1 = yield from _stage(x, eps, t, h, 1 / 3)
    eps2 = yield from _second_stage(x, eps, eps1, t, h)
    return _second_order(x, eps, eps1, 1 / 3, h, t_next), _third_order(x, eps, eps2, 2 / 3, h, t_next)


class _Controller:
    """A PID controller that chooses step lengths from errors, as in Söderlind 2003 (ACM TOMS 29, 1)."""

    def __init__(self, *, coefficients: tuple[float, float, float], order: float, safety: float) -> None:
        p, i, d = coefficients
        self._exponents = (p + i + d) / order, -(p + 2 * d) / order, d / order
        self._safety = safety
        self._accepted: tuple[float, float] | None = None  # inverse errors of the last two accepted steps

    def judge(self, error: float) -> tuple[float, bool]:
        """The factor from this step's length to the next one's, and whether this step is accepted."""
        inverse = 1 / (min(error, 1 / _TINY) + 1e-8)
        before = self._accepted or (inverse, inverse)
        product = math.prod(e**b for e, b in zip((inverse, *before), self._exponents, strict=True))
        factor = 1 + math.atan(product - 1)
        accepted = factor >= self._safety
        self._accepted = (inverse, before[0]) if accepted else before
        return factor, accepted
