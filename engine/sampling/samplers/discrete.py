"""Samplers of discrete-time diffusion, that draw fresh noise at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import intervals, slope


def ddpm(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Ho et al. 2020 (arXiv 2006.11239), algorithm 2, on z = x/sqrt(1 + σ²), with the posterior's variance β̃."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        alpha_bar, alpha_bar_next = 1 / (sigma**2 + 1), 1 / (sigma_next**2 + 1)
        alpha = alpha_bar / alpha_bar_next
        z = x / torch.sqrt(1 + sigma**2)
        eps = slope(x, sigma, denoised)
        z = (1 / alpha).sqrt() * (z - (1 - alpha) * eps / (1 - alpha_bar).sqrt())
        if sigma_next == 0:
            return z
        z = z + ((1 - alpha) * (1 - alpha_bar_next) / (1 - alpha_bar)).sqrt() * noise.white()
        x = z * torch.sqrt(1 + sigma_next**2)
    return x


def lcm(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Luo et al. 2023 (arXiv 2310.04378), algorithm 3: denoise at once, add the noise of the next level."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        x = denoised + noise.white() * sigma_next
    return x
