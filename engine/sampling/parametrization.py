"""How a network's output is read: what it is given at a noise level, and what its output says of the clean latents.

Knows no network and no sampler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels


@dataclass(frozen=True, kw_only=True, eq=False)
class Parametrization(ABC):
    """The noise levels of a model, and what its network predicts."""

    levels: NoiseLevels = STABLE_DIFFUSION_1

    linear_in_eps: bool = False
    """Whether sums of outputs with weights that add up to 1 may be made before ``denoised``, rounded once."""

    def network_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return what the network is given for x: x / √(1 + σ²) (Karras et al. 2022, table 1, VE in VP form)."""
        return x / torch.sqrt(1 + sigma**2)

    def time(self, sigma: Tensor) -> float:
        """Return the time that the network is given at ``sigma`` (0-dim float32 on the CPU)."""
        return self.levels.timestep(sigma)

    @abstractmethod
    def denoised(self, x: Tensor, sigma: Tensor, output: Tensor) -> Tensor:
        """Return the clean x that ``output``, the network's for x at ``sigma``, predicts; all (B, 4, h, w) float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Eps(Parametrization):
    """A network that predicts the noise (Ho et al. 2020, arXiv 2006.11239)."""

    linear_in_eps: bool = True

    def denoised(self, x: Tensor, sigma: Tensor, output: Tensor) -> Tensor:
        """Return what is left of x once the predicted noise is taken away."""
        return x - sigma * output


EPS = Eps()
"""Stable Diffusion 1.x as it is trained."""
