"""CFG++ (Chung et al. 2024, arXiv 2406.08070): x is renoised along the unconditional prediction.

Guidance moves only where a step aims, so that small guidance scales suffice. All samplers here are sent the pair
(denoised, unconditional).
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import PairSampling, Stage
from engine.sampling.samplers.steps import ancestral_split, intervals, log_snr, slope


def euler_cfg_pp(x: Tensor, sigmas: Tensor, noise: StepNoise) -> PairSampling:
    """CFG++'s algorithm 2 (DDIM), in terms of σ."""
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        x = denoised + sigma_next * slope(x, sigma, unconditional)
    return x


def euler_ancestral_cfg_pp(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> PairSampling:
    """euler_cfg_pp down to σ_down, then noise up to σ_next."""
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        if sigma_next == 0:
            return denoised
        down, up = ancestral_split(sigma, sigma_next, eta)
        x = denoised + down * slope(x, sigma, unconditional) + noise.white() * s_noise * up
    return x


def dpmpp_2s_ancestral_cfg_pp(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> PairSampling:
    """DPM-Solver++(2S) with CFG++: each of its two moves starts from x + denoised − unconditional.

    The second move takes the unconditional prediction of the second evaluation, as ComfyUI does.
    """
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        if sigma_next == 0:
            return denoised
        down, up = ancestral_split(sigma, sigma_next, eta)
        if down == 0:
            x = denoised
        else:
            h = log_snr(down) - log_snr(sigma)
            middle = sigma * torch.exp(-h / 2)
            middle_x = middle / sigma * (x + denoised - unconditional) - torch.expm1(-h / 2) * denoised
            middle_denoised, unconditional = yield Stage(middle_x, middle)
            x = down / sigma * (x + denoised - unconditional) - torch.expm1(-h) * middle_denoised
        x = x + noise.white() * s_noise * up
    return x


def dpmpp_2m_cfg_pp(x: Tensor, sigmas: Tensor, noise: StepNoise) -> PairSampling:
    """DPM-Solver++(2M) with CFG++; the first and the last step are of first order."""
    previous: Tensor | None = None
    h_before = torch.tensor(0.0)
    for sigma, sigma_next in intervals(sigmas):
        denoised, unconditional = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = log_snr(sigma_next) - log_snr(sigma)
        x = denoised + torch.exp(-h) * (x - unconditional)
        if previous is not None:
            x = x - torch.expm1(-h) / (2 * (h_before / h)) * (denoised - previous)
        previous, h_before = unconditional, h
    return x
