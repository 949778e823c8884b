"""Samplers of the variance-preserving process at whole timesteps, in terms of σ = √((1 − ᾱ)/ᾱ).

x is z/√ᾱ throughout. They end above 0, and leave z as it is there.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.multistep import ADAMS_BASHFORTH
from engine.sampling.samplers.protocol import PairSampling, Sampling, Stage
from engine.sampling.samplers.steps import ancestral_split, intervals, slope, weighted_sum


def ddim(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0) -> Sampling:
    """Song et al. 2021 (DDIM, arXiv 2010.02502), equation 12, with the noise of equation 16 times ``eta``."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        x = _next(x, denoised, slope(x, sigma, denoised), sigma, sigma_next, noise, eta)
    return _preserving(x, sigmas)


def ddim_cfg_pp(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0) -> PairSampling:
    """CFG++ (Chung et al. 2024, arXiv 2406.08070), algorithm 2: ``ddim`` along the unconditional eps."""
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        x = _next(x, denoised, slope(x, sigma, unconditional), sigma, sigma_next, noise, eta)
    return _preserving(x, sigmas)


def _next(
    x: Tensor, denoised: Tensor, eps: Tensor, sigma: Tensor, sigma_next: Tensor, noise: StepNoise, eta: float
) -> Tensor:
    down, up = ancestral_split(sigma, sigma_next, eta)
    x = denoised + down * eps
    return x + up * noise.white() if eta else x


def plms(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Liu et al. 2022 (PNDM, arXiv 2202.09778), section 3.4; the first step uses the mean of both ends' slopes."""
    slopes: deque[Tensor] = deque(maxlen=4)  # the latest first
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        slopes.appendleft(slope(x, sigma, denoised))
        if len(slopes) == 1:
            ahead = x + slopes[0] * (sigma_next - sigma)
            denoised = yield Stage(ahead, sigma_next)
            direction = (slopes[0] + slope(ahead, sigma_next, denoised)) / 2
        else:
            direction = weighted_sum(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        x = x + direction * (sigma_next - sigma)
    return _preserving(x, sigmas)


def _preserving(x: Tensor, sigmas: Tensor) -> Tensor:
    """z of the last level."""
    return x / torch.sqrt(1 + sigmas[-1] ** 2)
