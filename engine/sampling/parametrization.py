"""How a network's output is read: what it is given at a noise level, and what its output says of the clean latents.

Knows no network and no sampler.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from engine.sampling.a1111.levels import fractional_levels
from engine.sampling.levels import STABLE_DIFFUSION_1, ZERO_TERMINAL_SNR, NoiseLevels, continuous_levels, distilled


@dataclass(frozen=True, kw_only=True, eq=False)
class Parametrization(ABC):
    """The noise levels of a model, and what its network predicts."""

    levels: NoiseLevels = STABLE_DIFFUSION_1

    linear_in_eps: bool = False
    """Whether sums of outputs with weights that add up to 1 may be made before ``denoised``, rounded once."""

    data_sigma: float = 1.0
    """The standard deviation of clean latents that the network was trained with."""

    def network_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return what the network is given for x: x / √(σ_data² + σ²) (Karras et al. 2022, table 1)."""
        return x / torch.sqrt(self.data_sigma**2 + sigma**2)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Velocity(Parametrization):
    """A network that predicts v, the change of the picture along the circle from picture to noise (Salimans & Ho 2022,
    arXiv 2202.00512, appendix D)."""

    sign: int = -1
    """Of v; 1 for the preconditioning of Karras et al. 2022, equation 7."""

    def denoised(self, x: Tensor, sigma: Tensor, output: Tensor) -> Tensor:
        data = self.data_sigma
        total: Tensor = sigma**2 + data**2
        denoised: Tensor = x * (data**2 / total) + output * (self.sign * data * sigma / total.sqrt())
        return denoised


@dataclass(frozen=True, kw_only=True, eq=False)
class Clean(Parametrization):
    """A network that predicts the clean latents themselves."""

    scaled_input: bool = True
    """Whether x is scaled for the network."""

    def network_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super().network_input(x, sigma) if self.scaled_input else x

    def denoised(self, x: Tensor, sigma: Tensor, output: Tensor) -> Tensor:
        return output


@dataclass(frozen=True, kw_only=True, eq=False)
class Consistency(Parametrization):
    """A latent consistency model (Luo et al. 2023, arXiv 2310.04378, section 4.1): eps, whose clean latents count the
    more, the later the timestep, and x itself the more, the earlier."""

    def denoised(self, x: Tensor, sigma: Tensor, output: Tensor) -> Tensor:
        time, data = 10 * self.time(sigma), 0.5
        total = time**2 + data**2
        denoised: Tensor = time / total**0.5 * (x - sigma * output) + data**2 / total * x
        return denoised


EPS = Eps()
"""Stable Diffusion 1.x as it is trained."""

_DISTILLED_LEVELS = 50

_KINDS: Mapping[str, Parametrization] = MappingProxyType(
    {
        "eps": EPS,
        "v_prediction": Velocity(),
        "lcm": Consistency(),
        "x0": Clean(),
        "img_to_img": Clean(scaled_input=False),
        "edm": Velocity(sign=1, data_sigma=0.5),
    }
)

DISCRETE = ("eps", "v_prediction", "lcm", "x0", "img_to_img")
"""The kinds of ``discrete``, by ComfyUI's names."""

CONTINUOUS = ("v_prediction", "edm", "eps")
"""The kinds of ``continuous``."""


@functools.cache
def discrete(kind: str, *, zero_terminal_snr: bool) -> Parametrization:
    """Return the parametrization of a kind at Stable Diffusion 1's levels, or at those made of them."""
    levels = ZERO_TERMINAL_SNR if zero_terminal_snr else STABLE_DIFFUSION_1
    return replace(_KINDS[kind], levels=distilled(levels, _DISTILLED_LEVELS) if kind == "lcm" else levels)


@functools.lru_cache(maxsize=64)  # so that schedules, which are remembered by their levels, are found again
def continuous(kind: str, *, sigma_min: float, sigma_max: float) -> Parametrization:
    """Return the parametrization of a kind at continuous levels from ``sigma_min``, above 0, to ``sigma_max``."""
    return replace(_KINDS[kind], levels=continuous_levels(sigma_min, sigma_max))


@functools.cache
def fractional(kind: str, *, zero_terminal_snr: bool, half: bool, rounded: bool) -> Parametrization:
    """Return the parametrization of a kind at levels between which timesteps are interpolated, but those of ``lcm``."""
    levels = fractional_levels(zero_terminal_snr=zero_terminal_snr, half=half, rounded=rounded)
    return replace(_KINDS[kind], levels=distilled(levels, _DISTILLED_LEVELS) if kind == "lcm" else levels)
