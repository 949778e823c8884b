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

    spacing: int = 1
    """Training timesteps that each level stands for; its own is the last of them."""

    @property
    def count(self) -> int:
        """The number of levels."""
        return len(self.sigmas)

    @property
    def first_timestep(self) -> float:
        """The timestep of the smallest sigma."""
        return self.spacing - 1

    @property
    def last_timestep(self) -> float:
        """The timestep of the largest sigma."""
        return self.count * self.spacing - 1

    @cached_property
    def sigma_min(self) -> float:
        """The smallest training sigma."""
        return float(self.sigmas[0])

    @cached_property
    def sigma_max(self) -> float:
        """The largest training sigma."""
        return float(self.sigmas[-1])

    def timestep(self, sigma: Tensor) -> float:
        """Return the timestep of the level whose log sigma is nearest to that of ``sigma`` (0-dim float32)."""
        return int((sigma.log() - self.log_sigmas).abs().argmin()) * self.spacing + self.spacing - 1

    def sigma_at(self, timesteps: Tensor) -> Tensor:
        """Return the sigmas at fractional ``timesteps``, interpolated in log space; float32 of the same shape.

        Beyond the first and the last timestep it is their sigma.
        """
        places = ((timesteps - self.first_timestep) / self.spacing).clamp(0, self.count - 1)
        low, high = places.floor().long(), places.ceil().long()
        weight = places.frac()
        return ((1 - weight) * self.log_sigmas[low] + weight * self.log_sigmas[high]).exp()

    def sigma_at_percent(self, percent: float) -> float:
        """Return the sigma at which ``percent`` (0 … 1) of the timesteps lie behind: infinity at 0, 0 at 1.

        Ranges of conditioning and of ControlNets are given in percent. The value is computed in float32 as a schedule's
        sigmas are, because steps fall exactly on the ends of a range: ``normal`` with 6 steps has the sigma of 0.2.
        """
        if percent <= 0:
            return math.inf
        if percent >= 1:
            return 0.0
        return float(self.sigma_at(torch.tensor((1 - percent) * self.last_timestep)))

    def is_full_noise(self, sigma: Tensor | float) -> bool:
        """Return whether a sampling that begins at ``sigma`` begins at or above the largest training sigma."""
        first = float(sigma)
        return first > self.sigma_max or math.isclose(first, self.sigma_max, rel_tol=1e-5)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContinuousLevels(NoiseLevels):
    """Levels without training timesteps: what a network is given is a quarter of log sigma (Karras et al. 2022, table
    1). ``sigmas`` are 1000 whose logarithms rise evenly, for the schedules that pick among a model's own."""

    @property
    def first_timestep(self) -> float:
        return self.timestep(self.sigmas[0])

    @property
    def last_timestep(self) -> float:
        return self.timestep(self.sigmas[-1])

    def timestep(self, sigma: Tensor) -> float:
        return float(0.25 * sigma.log())

    def sigma_at(self, timesteps: Tensor) -> Tensor:
        return (timesteps / 0.25).exp()

    def sigma_at_percent(self, percent: float) -> float:
        """As for other levels; the logarithm of sigma falls evenly with ``percent``."""
        if percent <= 0:
            return math.inf
        if percent >= 1:
            return 0.0
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return math.exp((high - low) * (1 - percent) + low)


def continuous_levels(sigma_min: float, sigma_max: float) -> ContinuousLevels:
    """Return the levels from ``sigma_min``, above 0, to ``sigma_max``."""
    sigmas = torch.linspace(math.log(sigma_min), math.log(sigma_max), 1000).exp()
    return ContinuousLevels(sigmas=sigmas, log_sigmas=sigmas.log())


def distilled(levels: NoiseLevels, count: int) -> NoiseLevels:
    """Return ``count`` of the levels, the last and those at equal distances from it: what a distilled model knows.

    The logarithms are rounded once: schedules of whole quarters fall midway between two levels, and their last bit
    decides which of them is nearer.
    """
    spacing = levels.count // count
    sigmas = levels.sigmas[levels.count - 1 - spacing * torch.arange(count - 1, -1, -1)]
    return NoiseLevels(sigmas=sigmas, log_sigmas=sigmas.double().log().float(), spacing=spacing)


_ALMOST_NOTHING = 4.8973451890853435e-08
"""The share of the picture, in variance, at the last level of zero terminal SNR, where 0 would make sigma infinite."""


def _scaled_linear(low: float, high: float, count: int, *, zero_terminal_snr: bool = False) -> NoiseLevels:
    """σ = sqrt((1 − ᾱ)/ᾱ) for betas from ``low`` to ``high`` whose roots rise evenly (Rombach et al. 2022).

    With zero terminal SNR the roots of ᾱ are shifted and scaled so that the first stays as it is, and next to nothing
    of the picture is left at the last (Lin et al. 2023, arXiv 2305.08891, algorithm 1).
    """
    betas = torch.linspace(low**0.5, high**0.5, count, dtype=torch.float64) ** 2
    alphas_bar = torch.cumprod(1 - betas, dim=0)
    if zero_terminal_snr:
        alphas_bar = zero_terminal(alphas_bar)
    sigmas = ((1 - alphas_bar) / alphas_bar) ** 0.5
    return NoiseLevels(sigmas=sigmas.float(), log_sigmas=sigmas.log().float())


def zero_terminal(alphas_bar: Tensor) -> Tensor:
    """Return the shares ᾱ with roots shifted and scaled so that the first stays, and the last is next to nothing."""
    roots = alphas_bar.sqrt()
    shifted = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
    shifted[-1] = _ALMOST_NOTHING
    return shifted


STABLE_DIFFUSION_1 = _scaled_linear(0.00085, 0.012, 1000)
"""The levels of Stable Diffusion 1.x: 1000 of them, from 0.0292 to 14.6146."""

ZERO_TERMINAL_SNR = _scaled_linear(0.00085, 0.012, 1000, zero_terminal_snr=True)
"""The same with zero terminal SNR, up to about 4519."""
