"""Step mathematics that several samplers share. Sigmas are 0-dim float32 tensors on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor


def intervals(sigmas: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """The (σ, σ_next) of each step."""
    return pairwise(sigmas.unbind())


def last_positive(sigmas: Tensor) -> Tensor:
    """The last of ``sigmas`` that is above 0: where a sampler with steps of its own ends."""
    return sigmas[-1] if sigmas[-1] > 0 or len(sigmas) == 1 else sigmas[-2]


def slope(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dσ of the probability flow: Karras et al. 2022 (arXiv 2206.00364), equation 3."""
    return (x - denoised) / sigma


def ancestral_split(sigma: Tensor, sigma_next: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor]:
    """The (σ_down, σ_up), with σ_down² + σ_up² = σ_next²: go down to σ_down without noise, then add σ_up of it.

    σ_up is at most σ_next, else the standard deviation of DDPM's posterior times ``eta``: Song et al. 2021 (DDIM, arXiv
    2010.02502), equation 16. σ_down is 0 where σ_next is, and where ``eta`` is large.
    """
    if eta == 0:
        return sigma_next, torch.zeros(())
    variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
    up = min(sigma_next, eta * variance.sqrt())
    return (sigma_next**2 - up**2).sqrt(), up


def log_middle(sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """The level between two whose logarithm lies in the middle."""
    return sigma.log().lerp(sigma_next.log(), 0.5).exp()


def log_snr(sigma: Tensor) -> Tensor:
    """λ = −log σ, half the log of the signal-to-noise ratio: the time of the exponential integrators."""
    return sigma.log().neg()


def weighted_sum(weights: Iterable[Tensor | float], tensors: Iterable[Tensor]) -> Tensor:
    """Σ weightⱼ·tensorⱼ over the shorter of the two."""
    return reduce(torch.add, (weight * tensor for weight, tensor in zip(weights, tensors, strict=False)))
