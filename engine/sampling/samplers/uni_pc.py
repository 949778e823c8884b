"""UniPC (Zhao et al. 2023, arXiv 2302.04867): a multistep predictor, and a corrector that costs no evaluation.

In the variance-preserving frame z = α·x, with α = 1/sqrt(1 + σ²) and standard deviation α·σ; float32 throughout, since
the rounding of 1 − α² at small sigmas is part of the sampler. A final 0 is replaced by σ = 0.001.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import slope, weighted_sum


def uni_pc(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """UniPC of order 3 with B₁(h) = h."""
    return (yield from _to_sigma(x, sigmas, _BH1))


def uni_pc_bh2(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """UniPC of order 3 with B₂(h) = eʰ − 1."""
    return (yield from _to_sigma(x, sigmas, _BH2))


Weights: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""The weights of the differences behind in the predictor, those in the corrector, which has the newest last, and what
both are multiplied by."""


def _bh(scale: Callable[[Tensor], Tensor], ratios: Tensor, h: Tensor) -> Weights:
    """The weights of the form with B(h) = ``scale(h)``: the solutions of R·ρ = b."""
    order = len(ratios)
    points = torch.cat([ratios[1:], torch.ones(1)])
    phi = torch.expm1(h) / h - 1
    rows, b = [], []
    for k in range(1, order + 1):
        rows.append(points ** (k - 1))
        b.append(phi * math.factorial(k) / scale(h))
        phi = phi / h - 1 / math.factorial(k + 1)
    matrix, vector = torch.stack(rows), torch.stack(b)
    half = torch.tensor([0.5])
    predictor = half if order <= 2 else torch.linalg.solve(matrix[:-1, :-1], vector[:-1])
    corrector = half if order == 1 else torch.linalg.solve(matrix, vector)
    return predictor, corrector, scale(h)


def _varying(ratios: Tensor, h: Tensor) -> Weights:
    """The weights of the form with varying coefficients (appendix C): φ₂ … of the inverse of C, whose column k is
    rᵏ/(k+1)!. As in the authors' program, the newest difference is weighed by the last φ alone."""
    order = len(ratios)
    points = torch.cat([ratios[1:], torch.ones(1)])
    phi, phis = torch.expm1(h), []
    for k in range(1, order + 1):
        phi = phi / h - 1 / math.factorial(k)
        phis.append(phi)
    phi = torch.stack(phis)
    matrix = torch.stack([points**k / math.factorial(k + 1) for k in range(order)], dim=1)
    predictor = phi[:-1] @ torch.linalg.inv(matrix[:-1, :-1])
    inverse = torch.linalg.inv(matrix)
    newest = phi[-1] * inverse[max(order - 2, 0), -1]
    return predictor, torch.cat([phi[:-1] @ inverse[:-1, :-1], newest[None]]), torch.ones(())


Rule: TypeAlias = Callable[[Tensor, Tensor], Weights]
"""Where the predictions behind lie, in units of the step, 0 for the latest, and the paper's −h → the weights."""

_BH1: Rule = functools.partial(_bh, lambda h: h)
_BH2: Rule = functools.partial(_bh, torch.expm1)
_RULES: Mapping[str, Rule] = {"bh1": _BH1, "bh2": _BH2, "vary_coeff": _varying}


def uni_pc_timesteps(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, variant: str = "bh1", order: int = 3, lower_order_final: int = 1
) -> Sampling:
    """UniPC of ``order``, from 1, down to a level above 0, whose z is what it leaves.

    ``variant``: ``bh1``, ``bh2`` or ``vary_coeff``. ``lower_order_final``: 0 keeps the order up to the end. Raises
    ``BadRequest`` for another variant, and for fewer steps than the order.
    """
    if variant not in _RULES:
        raise BadRequest("variant", variant, f"one of {', '.join(_RULES)}")
    if not 1 <= order < len(sigmas):
        raise BadRequest("order", order, f"a whole number from 1 to the number of steps, {len(sigmas) - 1}")
    z = x / torch.sqrt(1 + sigmas[0] ** 2)
    return (yield from _uni_pc(z, sigmas, _RULES[variant], order, lower_last=bool(lower_order_final)))


def _to_sigma(x: Tensor, sigmas: Tensor, rule: Rule) -> Sampling:
    """Order 3 on ``sigmas``, whose x is what it leaves."""
    if sigmas[-1] == 0:
        sigmas = torch.cat([sigmas[:-1], torch.tensor([0.001])])
    z, alpha = x / torch.sqrt(1 + sigmas[0] ** 2), _frame(sigmas)[0][-1]
    if len(sigmas) <= 2:  # ComfyUI's loop moves from the second interval on; without one it returns the noise
        return z / alpha
    return (yield from _uni_pc(z, sigmas, rule, 3, lower_last=True)) / alpha


def _uni_pc(z: Tensor, sigmas: Tensor, rule: Rule, most: int, *, lower_last: bool) -> Sampling:
    """Algorithms 1 and 2 (multistep) in data prediction, of order ``most``.

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
        predictor, corrector, scale = rule(ratios, h)
        step = alpha[i] * scale
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
