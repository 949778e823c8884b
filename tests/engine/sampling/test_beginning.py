"""The first x: noise of the right size, and the latents that are sampled from."""

from __future__ import annotations

import pytest
import torch

from engine.sampling.beginning import first_x
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.schedules import sigmas

NOISE = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
LATENTS = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
NEARLY_FULL = torch.tensor(STABLE_DIFFUSION_1.sigma_max * (1 - 5e-6))
JUST_BELOW = torch.tensor(STABLE_DIFFUSION_1.sigma_max * (1 - 2e-5))


@pytest.mark.parametrize("scheduler", ["normal", "karras", "exponential", "kl_optimal"])
def test_full_noise_has_the_variance_of_noised_latents(scheduler: str) -> None:
    sigma = sigmas(sampler="euler", scheduler=scheduler, steps=5, denoise=1.0)[0]
    for first in (sigma, NEARLY_FULL, sigma * 2):
        expected = NOISE * (1 + first**2).sqrt() + LATENTS
        assert torch.equal(first_x(noise=NOISE, sigma=first, latents=LATENTS), expected)


@pytest.mark.parametrize("sigma", [JUST_BELOW, torch.tensor(0.3)])
def test_a_later_start_adds_sigma_times_the_noise(sigma: torch.Tensor) -> None:
    assert torch.equal(first_x(noise=NOISE, sigma=sigma, latents=LATENTS), LATENTS + NOISE * sigma)


def test_without_noise_the_latents_are_the_start() -> None:
    for sigma in (torch.tensor(14.7), torch.tensor(0.3)):
        assert torch.equal(first_x(noise=torch.zeros_like(LATENTS), sigma=sigma, latents=LATENTS), LATENTS)
