"""UniPC (Zhao et al. 2023, arXiv 2302.04867): a multistep predictor, and a corrector that costs no evaluation.

In the variance-preserving frame z = α·x, with α = 1/sqrt(1 + σ²) and standard deviation α·σ; float32 throughout, since
the rounding of 1 − α² at small sigmas is part of the sampler. A final 0 is replaced by σ = 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import slope, weighted_sum


def uni_pc(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """UniPC of order 3 with B₁(h) = h."""
    return (yield from _to_sigma(x, sigmas, lambda h: h))


def uni_pc_bh2(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """UniPC of order 3 with B₂(h) = eʰ − 1."""
    return (yield from _to_sigma(x, sigmas, torch.expm1))


_SCALES: Mapping[str, Callable[[Tensor], Tensor]] = {"bh1": lambda h: h, "bh2": torch.expm1}


def uni_pc_timesteps(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, variant: str = "bh1", order: int = 3, lower_order_final: int = 1
) -> Sampling:
    """UniPC of ``order``, from 1, down to a level above 0, whose z is what it leaves.

    ``variant``: ``bh1`` or ``bh2``. ``lower_order_final``: 0 keeps the order up to the end. Raises ``BadRequest`` for
    another variant, and for fewer steps than the order.
    """
    if variant not in _SCALES:
        raise BadRequest("variant", variant, f"one of {', '.join(_SCALES)}")
    if not 1 <= order < len(sigmas):
        raise BadRequest("order", order, f"a whole number from 1 to the number of steps, {len(sigmas) - 1}")
    z = x / torch.sqrt(1 + sigmas[0] ** 2)
    return (yield from _uni_pc(z, sigmas, _SCALES[variant], order, lower_last=bool(lower_order_final)))


def _to_sigma(x: Tensor, sigmas: Tensor, scale: Callable[[Tensor], Tensor]) -> Sampling:
    """Order 3 on ``sigmas``, whose x is what it leaves."""
    if sigmas[-1] == 0:
        sigmas = torch.cat([sigmas[:-1], torch.tensor([0.001])])
    z, alpha = x / torch.sqrt(1 + sigmas[0] ** 2), _frame(sigmas)[0][-1]
    if len(sigmas) <= 2:  # ComfyUI's loop moves from the second interval on; without one it returns the noise
        return z / alpha
    return (yield from _uni_pc(z, sigmas, scale, 3, lower_last=True)) / alpha


def _uni_pc(z: Tensor, sigmas: Tensor, scale: Callable[[Tensor], Tensor], most: int, *, lower_last: bool) -> Sampling:
    """Algorithms 1 and 2 (multistep) in data prediction, of order ``most``; ``scale`` is B.

    The first steps are of lower orders, and where ``lower_last`` the last ones too.
    """
    alpha, deviation, lam = _frame(sigmas)
    last = len(sigmas) - 1
    history = [(yield from _predict(z, sigmas[0], alpha[0], deviation[0]))]  # predictions behind, the latest first
    for i in range(1, last + 1):
        order = min(i, most, last + 1 - i if lower_last else most)
        h = lam[i - 1] - lam[i]  # the paper's −h
        ratios = (lam[i - 1] - lam[i - order : i].flip(0)) / h
        differences = [(m - history[0]) / r for m, r in zip(history[1:], ratios[1:], strict=False)]
        base = deviation[i] / deviation[i - 1] * z - alpha[i] * torch.expm1(h) * history[0]
        predictor, corrector = _weights(ratios, h, scale(h))
        step = alpha[i] * scale(h)
        z = base - step * weighted_sum(predictor, differences) if differences else base
        if i < last:
            prediction = yield from _predict(z, sigmas[i], alpha[i], deviation[i])
            z = base - step * weighted_sum(corrector, [*differences, prediction - history[0]])
            history = [prediction, *history[: most - 1]]
    return z


def _frame(sigmas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """α, standard deviation and λ = log(α / deviation) at each of ``sigmas``."""
    log_alpha = 0.5 * torch.log(1 / (sigmas * sigmas + 1))
    variance = 1 - torch.exp(2 * log_alpha)
    return torch.exp(log_alpha), torch.sqrt(variance), log_alpha - 0.5 * torch.log(variance)


def _predict(z: Tensor, sigma: Tensor, alpha: Tensor, deviation: Tensor) -> Sampling:
    """The data prediction at ``z``: denoised, by way of eps."""
    x = z * torch.sqrt(sigma**2 + 1)
    denoised = yield x, sigma
    return (z - deviation * slope(x, sigma, denoised)) / alpha


def _weights(ratios: Tensor, h: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The paper's ρ for predictor and corrector: the solutions of R·ρ = b.

    ``ratios``: where the predictions behind lie, in units of the step; 0 for the latest.
    """
    order = len(ratios)
    points = torch.cat([ratios[1:], torch.ones(1)])
    phi = torch.expm1(h) / h - 1
    rows, b = [], []
    for k in range(1, order + 1):
        rows.append(points ** (k - 1))
        b.append(phi * math.factorial(k) / scale)
        phi = phi / h - 1 / math.factorial(k + 1)
    matrix, vector = torch.stack(rows), torch.stack(b)
    half = torch.tensor([0.5])
    predictor = half if order <= 2 else torch.linalg.solve(matrix[:-1, :-1], vector[:-1])
    corrector = half if order == 1 else torch.linalg.solve(matrix, vector)
    return predictor, corrector
