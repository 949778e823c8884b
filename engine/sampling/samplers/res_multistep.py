"""RES (Zhang et al. 2023, arXiv 2308.02157): its second-order multistep rule, with and without noise."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import PairSampling, Sampling
from engine.sampling.samplers.steps import ancestral_split, intervals, log_snr, slope


def res_multistep(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0, s_noise: float = 1.0) -> Sampling:
    """The second-order rule down to σ_down, then noise up to σ_next; the first step and one to 0 are Euler's."""
    previous: Tensor | None = None
    before = down_before = sigmas[0]
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        down, up = ancestral_split(sigma, sigma_next, eta)
        if previous is None or down == 0:
            x = x + slope(x, sigma, denoised) * (down - sigma)
        else:
            x = _second_order(
                x, denoised, previous, log_snr(down) - log_snr(sigma), log_snr(down_before) - log_snr(before)
            )
        if up > 0:
            x = x + noise.white() * s_noise * up
        previous, before, down_before = denoised, sigma, down
    return x


def res_multistep_cfg_pp(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0, s_noise: float = 1.0
) -> PairSampling:
    """The same with CFG++ (Chung et al. 2024, arXiv 2406.08070): unconditional, from x + denoised − unconditional."""
    previous: Tensor | None = None
    before = down_before = sigmas[0]
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        down, up = ancestral_split(sigma, sigma_next, eta)
        if previous is None or down == 0:
            x = denoised + down * slope(x, sigma, unconditional)
        else:
            moved, h = x + (denoised - unconditional), log_snr(down) - log_snr(sigma)
            x = _second_order(moved, unconditional, previous, h, log_snr(down_before) - log_snr(before))
        if up > 0:
            x = x + noise.white() * s_noise * up
        previous, before, down_before = unconditional, sigma, down
    return x


def _second_order(x: Tensor, denoised: Tensor, previous: Tensor, h: Tensor, h_before: Tensor) -> Tensor:
    """A step of ``h`` in λ from ``denoised`` and that of the step before, which was ``h_before`` long without noise."""
    c2 = -h_before / h
    phi1 = torch.expm1(-h) / -h
    phi2 = (phi1 - 1) / -h
    return torch.exp(-h) * x + h * ((phi1 - phi2 / c2) * denoised + phi2 / c2 * previous)
