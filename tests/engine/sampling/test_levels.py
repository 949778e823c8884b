"""A model's noise levels: timestep, sigma and percent are one scale."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.schedules import sigmas


def _training_sigma(index: int) -> float:
    """By the definition, in plain Python."""
    alpha_bar = 1.0
    for i in range(index + 1):
        root = 0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999
        alpha_bar *= 1 - root**2
    return math.sqrt((1 - alpha_bar) / alpha_bar)


def test_the_ends_are_those_of_the_betas() -> None:
    ends = [STABLE_DIFFUSION_1.sigma_min, STABLE_DIFFUSION_1.sigma_max]
    assert ends == pytest.approx([_training_sigma(0), _training_sigma(999)])
    assert STABLE_DIFFUSION_1.count == 1000


def test_timestep_inverts_the_training_sigmas() -> None:
    for index in range(0, 1000, 37):
        assert STABLE_DIFFUSION_1.timestep(torch.tensor(_training_sigma(index))) == index


@given(st.floats(0.001, 100))
def test_timestep_is_the_nearest_in_log_sigma(sigma: float) -> None:
    nearest = STABLE_DIFFUSION_1.timestep(torch.tensor(sigma))
    distance = abs(math.log(sigma) - math.log(_training_sigma(nearest)))
    for neighbour in (nearest - 1, nearest + 1):
        if 0 <= neighbour <= 999:
            assert distance <= abs(math.log(sigma) - math.log(_training_sigma(neighbour))) + 1e-5


@pytest.mark.parametrize(("percent", "sigma"), [(0.2, 5.0924), (0.5, 1.6156), (0.8, 0.5712)])
def test_percent_counts_timesteps_from_the_top(percent: float, sigma: float) -> None:
    assert STABLE_DIFFUSION_1.sigma_at_percent(percent) == pytest.approx(sigma, abs=5e-5)


@pytest.mark.parametrize("percent", [-1.0, 0.0, 1.0, 2.0])
def test_a_range_that_covers_an_end_is_open_there(percent: float) -> None:
    assert STABLE_DIFFUSION_1.sigma_at_percent(percent) == (math.inf if percent <= 0 else 0.0)


def test_the_steps_of_a_schedule_fall_exactly_on_percentages() -> None:
    levels = sigmas(sampler="euler", scheduler="normal", steps=6, denoise=1.0)
    for step in (1, 2, 3, 4):
        assert STABLE_DIFFUSION_1.sigma_at_percent(step / 5) == float(levels[step])


def test_other_levels_make_other_schedules() -> None:
    halved = NoiseLevels(sigmas=STABLE_DIFFUSION_1.sigmas / 2, log_sigmas=(STABLE_DIFFUSION_1.sigmas / 2).log())
    for scheduler in ("normal", "simple", "beta"):
        whole = sigmas(sampler="euler", scheduler=scheduler, steps=7, denoise=1.0)
        half = sigmas(sampler="euler", scheduler=scheduler, steps=7, denoise=1.0, levels=halved)
        assert torch.allclose(half, whole / 2, rtol=1e-5)
    karras = sigmas(sampler="euler", scheduler="karras", steps=7, denoise=1.0, levels=halved)
    assert float(karras[0]) == pytest.approx(STABLE_DIFFUSION_1.sigma_max / 2)
    assert halved.is_full_noise(torch.tensor(8.0))
    assert not STABLE_DIFFUSION_1.is_full_noise(torch.tensor(8.0))
