"""The noise that is learned away, and the short sampler of the progress grids. Knows no scenes and no files."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 1000
_BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
KEPT = torch.cumprod(1 - _BETAS, dim=0).float()  # (1000,) the share of the picture's variance left at each timestep


def timesteps(count: int, draw: torch.Generator, gamma: float = 5.0) -> Tensor:
    """(count,) timesteps, drawn as often as min-SNR-γ weighs them (Hang et al. 2023, arXiv 2303.09556).

    Drawing instead of weighing spends no sample on what counts for little.
    """
    ratio = KEPT / (1 - KEPT)
    weight = (ratio.clamp(max=gamma) / ratio).clamp(min=0.1)
    return torch.multinomial(weight, count, replacement=True, generator=draw)


def weights(t: Tensor) -> Tensor:
    """(B,) what an error in epsilon counts: ⁴√(1 + σ²). Where there is most noise, the picture's plan is decided, and
    epsilon hardly depends on it: unweighted, the plan is learned last."""
    return KEPT.to(t.device)[t].pow(-0.25)


def noised(latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Latents (B, 4, h, w) at timesteps (B,)."""
    kept = KEPT.to(latents.device)[t][:, None, None, None]
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def ddim(eps_of: Callable[[Tensor, int], Tensor], noise: Tensor, steps: int = 20) -> Tensor:
    """Song et al. 2021 (arXiv 2010.02502), equation 12 with σ = 0; ``eps_of`` is given x and the timestep."""
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long().tolist()
    x = noise
    for now, then in itertools.pairwise(times):
        eps = eps_of(x, now)
        clean = (x - (1 - KEPT[now]).sqrt() * eps) / KEPT[now].sqrt()
        x = KEPT[then].sqrt() * clean + (1 - KEPT[then]).sqrt() * eps
    return x
