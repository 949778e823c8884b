"""Gradient estimation (Permenter & Yuan 2024, arXiv 2306.04848): Euler's step with its slope extrapolated."""

from __future__ import annotations

from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import PairSampling, Sampling
from engine.sampling.samplers.steps import intervals, slope


def gradient_estimation(x: Tensor, sigmas: Tensor, noise: StepNoise, *, gamma: float = 2.0) -> Sampling:
    """Algorithm 1: the slope is γ times the present one less γ − 1 times the one before; the last step is Euler's."""
    previous: Tensor | None = None
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        present, step = slope(x, sigma, denoised), sigma_next - sigma
        x = x + present * step
        if previous is not None:
            x = x + (gamma - 1) * (present - previous) * step
        previous = present
    return x


def gradient_estimation_cfg_pp(x: Tensor, sigmas: Tensor, noise: StepNoise, *, gamma: float = 2.0) -> PairSampling:
    """The same with CFG++ (Chung et al. 2024, arXiv 2406.08070): slopes of the unconditional prediction."""
    previous: Tensor | None = None
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        if sigma_next == 0:
            return denoised
        present, step = slope(x, sigma, unconditional), sigma_next - sigma
        x = denoised + present * sigma_next
        if previous is not None:
            x = x + (gamma - 1) * (present - previous) * step
        previous = present
    return x
