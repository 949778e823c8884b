"""The curves of the nine schedulers: a number of steps and a model's noise levels → falling sigmas.

All return float32 on the CPU, positive, without the final 0. They know no sampler, and check no more of their
arguments than that the power of a ramp has a finite answer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling.levels import NoiseLevels


def normal(n: int, levels: NoiseLevels) -> Tensor:
    """Evenly spaced timesteps from the last to the first."""
    return levels.sigma_at(torch.linspace(levels.last_timestep, levels.first_timestep, n))


def sgm_uniform(n: int, levels: NoiseLevels) -> Tensor:
    """Evenly spaced timesteps from the last down, one step short of the first."""
    return levels.sigma_at(torch.linspace(levels.last_timestep, levels.first_timestep, n + 1)[:-1])


def karras(n: int, levels: NoiseLevels) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364), equation 5, with ρ = 7."""
    return karras_ramp(n, levels.sigma_max, levels.sigma_min, 7.0)


def karras_ramp(n: int, sigma_max: float, sigma_min: float, rho: float) -> Tensor:
    """Return sigmas whose ρ-th roots fall evenly. Raises ``BadRequest`` for a power so low that these roots are
    infinite."""
    try:
        largest, smallest = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    except OverflowError:
        largest = smallest = math.inf
    sigmas: Tensor = (largest + torch.linspace(0, 1, n) * (smallest - largest)) ** rho
    if not bool(sigmas.isfinite().all()):
        raise BadRequest("rho", rho, f"a power by which the roots of {sigma_max:g} and {sigma_min:g} are finite")
    return sigmas


def exponential(n: int, levels: NoiseLevels) -> Tensor:
    """Return sigmas whose logarithms fall evenly."""
    return exponential_ramp(n, levels.sigma_max, levels.sigma_min)


def exponential_ramp(n: int, sigma_max: float, sigma_min: float) -> Tensor:
    """Return sigmas whose logarithms fall evenly, between any two ends."""
    return torch.linspace(math.log(sigma_max), math.log(sigma_min), n).exp()


def kl_optimal(n: int, levels: NoiseLevels) -> Tensor:
    """Sabour et al. 2024 (Align Your Steps), theorem 3.1: the arc tangents of the sigmas fall evenly."""
    ramp = torch.arange(n, dtype=torch.float32) / (n - 1)
    return (ramp * math.atan(levels.sigma_min) + (1 - ramp) * math.atan(levels.sigma_max)).tan()


def simple(n: int, levels: NoiseLevels) -> Tensor:
    """Training sigmas at equal distances from the top; some of them repeat where n exceeds their number."""
    places = (torch.arange(n, dtype=torch.float64) * (levels.count / n)).long()
    return levels.sigmas[levels.count - 1 - places]


def ddim_uniform(n: int, levels: NoiseLevels) -> Tensor:
    """Training sigmas 1, 1 + s, 1 + 2s, … for a whole number s of about count/n, hence not always n of them."""
    return levels.sigmas[1 :: max(levels.count // n, 1)].flip(0)


def beta(n: int, levels: NoiseLevels) -> Tensor:
    """Lee et al. 2024 (arXiv 2407.12173): timesteps at the quantiles of Beta(0.6, 0.6), each of them once."""
    if n > 2 * levels.count:  # then every timestep is nearest to some quantile
        return levels.sigmas.flip(0)
    return beta_quantiles(n, levels, 0.6, 0.6)


def beta_quantiles(n: int, levels: NoiseLevels, alpha: float, beta: float) -> Tensor:
    """Training sigmas at the quantiles of Beta(``alpha``, ``beta``), each of them once, hence not always n of them."""
    quantiles = betaincinv(alpha, beta, 1 - np.linspace(0, 1, n, endpoint=False))
    timesteps = torch.from_numpy(np.rint(quantiles * (levels.count - 1))).long()
    return levels.sigmas[torch.unique(timesteps).flip(0)]


def linear_quadratic(n: int, levels: NoiseLevels) -> Tensor:
    """Polyak et al. 2024 (Movie Gen), section 3.4.2: half the steps cover 2.5 % evenly, the rest accelerate."""
    threshold = 0.025
    linear = max(n // 2, 1)
    step = torch.arange(n, dtype=torch.float64)
    acceleration = (1 - threshold * n / linear) / max(n - linear, 1) ** 2
    covered = step * threshold / linear + acceleration * (step - linear).clamp(min=0) ** 2
    return (1 - covered).float() * levels.sigma_max
