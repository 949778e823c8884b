"""Noise, the first sigma and latents → the first x. Knows no sampler and no schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels


def first_x(*, noise: Tensor, sigma: Tensor, latents: Tensor, levels: NoiseLevels = STABLE_DIFFUSION_1) -> Tensor:
    """Return the x at which a sampling begins, float32 of ``noise``'s shape.

    ``noise``: unit noise, or zeros. ``sigma``: the schedule's first, 0-dim float32. ``latents``: what is sampled from,
    in the UNet's scale (the VAE's × 0.18215), or zeros. At full noise the noise's variance is 1 + σ², that of noised
    latents of unit variance; latents still enter.
    """
    if levels.is_full_noise(sigma):
        return noise * torch.sqrt(1.0 + sigma**2) + latents
    return noise * sigma + latents
