"""Noise levels whose timesteps lie between the trained ones, as k-diffusion and AUTOMATIC1111 read a model.

The table is made in float32 of the variances that a checkpoint has, as that program makes it: the last bits of a
schedule depend on it. Knows no scheduler and no network.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sampling.levels import NoiseLevels, zero_terminal


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalLevels(NoiseLevels):
    """Levels between which timesteps are interpolated in log sigma, instead of being rounded to the nearest."""

    rounded: bool = False
    """Whether they are rounded after all."""

    alphas_bar: Tensor
    """(n,) float32, falling: the share of the picture, in variance, at each timestep."""

    def timestep(self, sigma: Tensor) -> float:
        """The timestep of ``sigma`` (0-dim float32), 0 … n−1; beyond the ends it is theirs."""
        if self.rounded:
            return super().timestep(sigma)
        log_sigma = sigma.log()
        low = int((log_sigma >= self.log_sigmas).sum().clamp(1, self.count - 1)) - 1
        below, above = self.log_sigmas[low], self.log_sigmas[low + 1]
        share = ((below - log_sigma) / (below - above)).clamp(0, 1)
        return float((1 - share) * low + share * (low + 1))

    def sigma_at_alpha_bar(self, times: Tensor) -> Tensor:
        """The sigmas at fractional timesteps, interpolated in log ᾱ (Lu et al. 2022, arXiv 2206.00927, appendix D.4);
        float32 of the same shape."""
        low, high = times.floor().long(), times.ceil().long()
        log_alphas = self.alphas_bar.log()
        log_alpha = log_alphas[low].lerp(log_alphas[high], times.frac())
        return torch.expm1(-log_alpha).sqrt()


@functools.cache
def fractional_levels(
    *, zero_terminal_snr: bool = False, half: bool = False, rounded: bool = False
) -> FractionalLevels:
    """Return the levels of Stable Diffusion 1.x: 1000 of them, from 0.0292 to 14.6146.

    ``zero_terminal_snr``: with next to nothing of the picture left at the last. ``half``: made of variances in float16,
    and in it. ``rounded``: with whole timesteps after all.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas_bar = torch.cumprod(1 - betas, dim=0).float()
    if half:
        alphas_bar = alphas_bar.half()
    if zero_terminal_snr:
        alphas_bar = zero_terminal(alphas_bar)
    sigmas = ((1 - alphas_bar) / alphas_bar) ** 0.5
    return FractionalLevels(
        sigmas=sigmas.float(), log_sigmas=sigmas.log().float(), alphas_bar=alphas_bar.float(), rounded=rounded
    )
