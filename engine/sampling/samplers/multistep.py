"""Multistep samplers along the probability flow: one evaluation a step, and the slopes of the steps before."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import intervals, slope, weighted_sum


def lms(x: Tensor, sigmas: Tensor, noise: StepNoise, *, order: int = 4) -> Sampling:
    """Adams–Bashforth of ``order`` with steps of any size: Hairer, Nørsett & Wanner, Solving ODEs I, section III.5.

    Down to 0 it takes the denoised prediction.
    """
    return (yield from _lms(x, sigmas, order, to_denoised=True))


def lms_to_end(x: Tensor, sigmas: Tensor, noise: StepNoise, *, order: int = 4) -> Sampling:
    """As ``lms``, down to 0 too by the slopes behind: k-diffusion's."""
    return (yield from _lms(x, sigmas, order, to_denoised=False))


def _lms(x: Tensor, sigmas: Tensor, order: int, *, to_denoised: bool) -> Sampling:
    slopes: deque[Tensor] = deque(maxlen=order)  # the latest first
    levels = sigmas.numpy()
    for i, (sigma, sigma_next) in enumerate(intervals(sigmas)):
        denoised = yield x, sigma
        if sigma_next == 0 and to_denoised:
            return denoised
        slopes.appendleft(slope(x, sigma, denoised))
        nodes = levels[i + 1 - len(slopes) : i + 1][::-1]
        x = x + weighted_sum(_lagrange_integrals(nodes, levels[i + 1]), slopes)
    return x


def _lagrange_integrals(nodes: NDArray[np.float32], end: np.float32) -> list[float]:
    """∫ from nodes[0] to ``end`` of each of the polynomials that are 1 at one node and 0 at the others.

    In float32, as in ComfyUI: where the steps grow, the integrals are large and rounding shows. ``full_output`` keeps
    scipy from warning where rounding is all that is left.
    """

    def basis(sigma: float, j: int) -> Any:
        return math.prod((sigma - other) / (nodes[j] - other) for k, other in enumerate(nodes) if k != j)

    return [quad(basis, nodes[0], end, args=(j,), epsrel=1e-4, full_output=1)[0] for j in range(len(nodes))]


ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def ipndm(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """iPNDM, Zhang & Chen 2022 (DEIS, arXiv 2204.13902): Adams–Bashforth of order 4 as if steps were equal."""
    slopes: deque[Tensor] = deque(maxlen=4)
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        slopes.appendleft(slope(x, sigma, denoised))
        x = x + weighted_sum(ADAMS_BASHFORTH[len(slopes) - 1], slopes) * (sigma_next - sigma)
    return x


def ipndm_v(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """ipndm for steps of any size, as in diff-sampler (Zhou et al. 2024, arXiv 2312.00094)."""
    slopes: deque[Tensor] = deque(maxlen=4)
    steps = sigmas.diff().unbind()
    for i, (sigma, sigma_next) in enumerate(intervals(sigmas)):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        slopes.appendleft(slope(x, sigma, denoised))
        weights = _variable_step_weights(*steps[i + 1 - len(slopes) : i + 1][::-1])
        x = x + weighted_sum(weights, slopes) * (sigma_next - sigma)
    return x


def _variable_step_weights(h: Tensor, *before: Tensor) -> list[Tensor]:
    """Weights of the slopes at the start of step ``h`` and at those of the up to three steps ``before``, latest first.

    Newton's form: the slope, plus its differences of rising order times their integrals. ``second`` and the very last
    weight depart from Adams–Bashforth where steps are not equal: so diff-sampler publishes this sampler, and so its
    pictures are made. float32, in this order: a schedule that speeds up makes the weights large and their sum cancel.
    """
    if not before:
        return [torch.ones(())]
    h1 = before[0]
    first = h / h1 / 2
    weights = [1 + first, -first]
    if len(before) > 1:
        h2 = before[1]
        r = h1 / h2
        second = (1 - h / (3 * (h + h1)) * (h * (h + h1)) / (h1 * (h1 + h2))) / 2
        weights = [weights[0] + second, weights[1] - (1 + r) * second, second * h1 / h2]
    if len(before) > 2:
        h3 = before[2]
        s = h1 * (h1 + h2) / (h2 * (h2 + h3))
        third = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        third = third * (h * (h + h1) * (h + h1 + h2)) / (h1 * (h1 + h2) * (h1 + h2 + h3))
        fourth = [third, -(1 + r + s) * third, (r + s * (1 + h2 / h3)) * third, -third * s * h1 / h2]
        weights = [weight + term for weight, term in zip([*weights, torch.zeros(())], fourth, strict=True)]
    return weights


def deis(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Zhang & Chen 2022 (arXiv 2204.13902), tAB-DEIS of order 3: equation 15, its polynomials in VP time."""
    slopes: deque[Tensor] = deque(maxlen=3)
    times = _VP.time(sigmas)
    for i, (sigma, sigma_next) in enumerate(intervals(sigmas)):
        denoised = yield x, sigma
        slopes.appendleft(slope(x, sigma, denoised))
        if sigma_next == 0 or i == 0:
            x = x + slopes[0] * (sigma_next - sigma)
        else:
            nodes = times[i + 1 - len(slopes) : i + 1].flip(0)
            x = x + weighted_sum(_VP.lagrange_integrals(nodes, times[i + 1]), slopes)
    return x


class _VariancePreserving:
    """The VP process with ᾱ(t) = exp(−t²·(β₁ − β₀)/2 − t·β₀) that has σ 0.002 at t = 0.001 and σ 80 at t = 1.

    float32 throughout: β₀ is a difference of nearly equal numbers, and its rounding is part of the sampler.
    """

    def __init__(self) -> None:
        low, high = (torch.log(torch.tensor(sigma) ** 2 + 1) for sigma in (0.002, 80.0))
        self.slope = 2 * (low / 1e-3 - high) / (1e-3 - 1)
        self.beta_0 = high - 0.5 * self.slope
        self.beta_1 = self.slope + self.beta_0

    def time(self, sigma: Tensor) -> Tensor:
        root = (self.beta_0**2 + 2 * self.slope * (sigma**2 + 1).log()).sqrt()
        return (root - self.beta_0) / self.slope

    def dsigma_dt(self, t: Tensor) -> Tensor:
        rise = self.beta_1 - self.beta_0
        alpha_bar = torch.exp(-0.5 * t**2 * rise - t * self.beta_0)
        return 0.5 * (t * rise + self.beta_0) / torch.sqrt(alpha_bar * (1 - alpha_bar))

    def lagrange_integrals(self, nodes: Tensor, end: Tensor, points: int = 10000) -> list[Tensor]:
        """∫ ℓⱼ dσ from nodes[0] to ``end``, by the mean over ``points`` equidistant times, both ends included."""
        t = torch.linspace(float(nodes[0]), float(end), points)
        weight = self.dsigma_dt(t)
        integrals = []
        for j, node in enumerate(nodes):
            others = torch.cat([nodes[:j], nodes[j + 1 :]])
            basis = math.prod((t - other) / (node - other) for other in others)
            integrals.append((weight * basis).sum() * ((end - nodes[0]) / points))
        return integrals


_VP = _VariancePreserving()
