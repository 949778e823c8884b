"""The noise levels that a model was trained on: timestep ⇄ sigma ⇄ percent of sampling.

Knows no scheduler, no sampler and no device: all tensors lie on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseLevels:
    """The sigmas of one model's training timesteps, and what lies between them."""

    sigmas: Tensor
    """(n,) float32, rising, above 0: the sigma of each timestep 0 … n−1."""

    log_sigmas: Tensor
    """(n,) float32: their natural logarithms."""

    @property
    def count(self) -> int:
        """The number of training timesteps."""
        return len(self.sigmas)

    @cached_property
    def sigma_min(self) -> float:
        """The smallest training sigma."""
        return float(self.sigmas[0])

    @cached_property
    def sigma_max(self) -> float:
        """The largest training sigma."""
        return float(self.sigmas[-1])

    def timestep(self, sigma: Tensor) -> int:
        """The training timestep, 0 … n−1, whose log sigma is nearest to that of ``sigma`` (0-dim float32)."""
        return int((sigma.log() - self.log_sigmas).abs().argmin())

    def sigma_at(self, timesteps: Tensor) -> Tensor:
        """The sigmas at fractional ``timesteps`` in [0, n−1], interpolated in log space; float32 of the same shape."""
        low, high = timesteps.floor().long(), timesteps.ceil().long()
        weight = timesteps.frac()
        return ((1 - weight) * self.log_sigmas[low] + weight * self.log_sigmas[high]).exp()

    def sigma_at_percent(self, percent: float) -> float:
        """The sigma at which ``percent`` (0 … 1) of the timesteps lie behind: infinity at 0, 0 at 1.

        Ranges of conditioning and of ControlNets are given in percent. The value is computed in float32 as a schedule's
        sigmas are, because steps fall exactly on the ends of a range: ``normal`` with 6 steps has the sigma of 0.2.
        """
        if percent <= 0:
            return math.inf
        if percent >= 1:
            return 0.0
        return float(self.sigma_at(torch.tensor((1 - percent) * (self.count - 1))))

    def is_full_noise(self, sigma: Tensor | float) -> bool:
        """Whether a sampling that begins at ``sigma`` begins at or above the largest training sigma."""
        first = float(sigma)
        return first > self.sigma_max or math.isclose(first, self.sigma_max, rel_tol=1e-5)


def _scaled_linear(low: float, high: float, count: int) -> NoiseLevels:
    """σ = sqrt((1 − ᾱ)/ᾱ) for betas from ``low`` to ``high`` whose roots rise evenly (Rombach et al. 2022)."""
    betas = torch.linspace(low**0.5, high**0.5, count, dtype=torch.float64) ** 2
    alphas_bar = torch.cumprod(1 - betas, dim=0)
    sigmas = ((1 - alphas_bar) / alphas_bar) ** 0.5
    return NoiseLevels(sigmas=sigmas.float(), log_sigmas=sigmas.log().float())


STABLE_DIFFUSION_1 = _scaled_linear(0.00085, 0.012, 1000)
"""The levels of Stable Diffusion 1.x: 1000 of them, from 0.0292 to 14.6146."""
