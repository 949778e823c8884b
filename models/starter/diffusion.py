"""Adds the noise that training removes, and samples the progress grids. Knows no scenes and no files."""

import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 1000
OFFSET = 0.1
_BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
KEPT = torch.cumprod(1 - _BETAS, dim=0).float()  # (1000,) the share of the picture's variance left at each timestep


@functools.cache
def kept(device: torch.device) -> Tensor:
    """Return ``KEPT`` on ``device``, copied there once."""
    return KEPT.to(device)


@functools.cache
def _shares(device: torch.device, gamma: float = 5.0) -> Tensor:
    """Return (1000,) the probability that a timestep up to each is drawn, rising to 1."""
    ratio = KEPT.double() / (1 - KEPT.double())
    weight = (ratio.clamp(max=gamma) / ratio).clamp(min=0.1)
    return (weight.cumsum(0) / weight.sum()).float().to(device)


def timesteps(count: int, draw: torch.Generator) -> Tensor:
    """Draw (count,) timesteps, as often as min-SNR-γ weighs them (Hang et al. 2023, arXiv 2303.09556).

    Drawing instead of weighing spends no sample on what counts for little. One is drawn from each of ``count`` equal
    shares, so that every batch holds all degrees of noise.
    """
    places = torch.arange(count, device=draw.device) + torch.rand(count, generator=draw, device=draw.device)
    return torch.searchsorted(_shares(draw.device), places / count).clamp(max=STEPS - 1)


def weights(t: Tensor) -> Tensor:
    """Return (B,) what an error in epsilon counts: ⁴√(1 + σ²).

    Where there is most noise, the picture's plan is decided, and epsilon hardly depends on it: unweighted, the plan is
    learned last.
    """
    return kept(t.device)[t].pow(-0.25)


def noise_like(latents: Tensor, draw: torch.Generator) -> Tensor:
    """Draw white noise, plus a little that is the same all over a channel.

    At the last timestep a picture keeps 0.07 of its amplitude, so that the mean of a thousand numbers still shows how
    bright it is. A network that relies on that takes the sampler's own noise for a picture of middling brightness, and
    paints no night. The offset hides the mean.
    """
    white = torch.randn(latents.shape, generator=draw, device=draw.device)
    return white + OFFSET * torch.randn(*latents.shape[:2], 1, 1, generator=draw, device=draw.device)


def noised(latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return latents (B, 4, h, w) with the noise of timesteps (B,)."""
    share = kept(latents.device)[t][:, None, None, None]
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def ddim(eps_of: Callable[[Tensor, int], Tensor], noise: Tensor, steps: int = 20) -> Tensor:
    """Sample by DDIM: Song et al. 2021 (arXiv 2010.02502), equation 12 with σ = 0. ``eps_of`` gets x and the
    timestep."""
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long().tolist()
    x = noise
    for now, then in itertools.pairwise(times):
        eps = eps_of(x, now)
        clean = (x - (1 - KEPT[now]).sqrt() * eps) / KEPT[now].sqrt()
        x = KEPT[then].sqrt() * clean + (1 - KEPT[then]).sqrt() * eps
    return x
