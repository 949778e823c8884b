"""Step mathematics that several samplers share. Sigmas are 0-dim float32 tensors on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor


def intervals(sigmas: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """(σ, σ_next) of each step."""
    return pairwise(sigmas.unbind())


def slope(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dσ of the probability flow: Karras et al. 2022 (arXiv 2206.00364), equation 3."""
    return (x - denoised) / sigma


def ancestral_split(sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """(σ_down, σ_up), with σ_down² + σ_up² = σ_next²: go down to σ_down without noise, then add σ_up of it.

    σ_up is the standard deviation of DDPM's posterior: Song et al. 2021 (DDIM, arXiv 2010.02502), equation 16, η = 1.
    """
    variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
    up = torch.minimum(sigma_next, variance.sqrt())
    return (sigma_next**2 - up**2).sqrt(), up


def log_snr(sigma: Tensor) -> Tensor:
    """λ = −log σ, half the log of the signal-to-noise ratio: the time of the exponential integrators."""
    return sigma.log().neg()


def weighted_sum(weights: Iterable[Tensor | float], tensors: Iterable[Tensor]) -> Tensor:
    """Σ weightⱼ·tensorⱼ over the shorter of the two."""
    return reduce(torch.add, (weight * tensor for weight, tensor in zip(weights, tensors, strict=False)))
