"""Noise is a function of the seed alone."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from engine.sampling.noise import NoiseSource, start_noise
from engine.sampling.schedules import sigmas

SEEDS = (0, 1, 2**63 - 1, 2**63, 2**64 - 1)
SHAPE = (2, 4, 16, 16)
LEVELS = sigmas(sampler="dpmpp_sde", scheduler="karras", steps=8, denoise=1.0)


def _draws(source: NoiseSource) -> torch.Tensor:
    brownian = [source.brownian(*pair) for pair in pairwise(LEVELS[:-1])]
    return torch.stack([source.white(), source.white(), *brownian])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_means_one_noise(seed: int) -> None:
    assert torch.equal(start_noise(seed, SHAPE), start_noise(seed, SHAPE))
    assert torch.equal(_draws(NoiseSource(seed, LEVELS, SHAPE)), _draws(NoiseSource(seed, LEVELS, SHAPE)))


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]))


@pytest.mark.parametrize(("seed", "other"), [(0, 1), (0, 2**32 - 1), (1, 2**64 - 1), (2**63, 2**63 + 1)])
def test_seeds_differ(seed: int, other: int) -> None:
    assert _correlation(start_noise(seed, SHAPE), start_noise(other, SHAPE)) < 0.1
    pairs = zip(*(_draws(NoiseSource(each, LEVELS, SHAPE)) for each in (seed, other)), strict=True)
    assert all(_correlation(*pair) < 0.1 for pair in pairs)


def test_brownian_noise_knows_all_64_bits_of_a_seed() -> None:
    """Torch's own generator, and so start noise and white noise, only the lower 32."""
    low, high = (NoiseSource(seed, LEVELS, SHAPE).brownian(LEVELS[0], LEVELS[1]) for seed in (5, 5 + 2**32))
    assert _correlation(low, high) < 0.1
    assert torch.equal(start_noise(5, SHAPE), start_noise(5 + 2**32, SHAPE))


def test_start_noise_is_torchs_own() -> None:
    generator = torch.Generator().manual_seed(42)
    noise = start_noise(42, SHAPE)
    assert noise.dtype == torch.float32
    assert torch.equal(noise, torch.randn(SHAPE, generator=generator))


@pytest.mark.parametrize("seed", SEEDS)
def test_white_noise_is_that_of_the_next_seed(seed: int) -> None:
    source = NoiseSource(seed, LEVELS, SHAPE)
    generator = torch.Generator().manual_seed((seed + 1) % 2**64)
    for _ in range(3):
        assert torch.equal(source.white(), torch.randn(SHAPE, generator=generator))


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        results.append(_draws(NoiseSource(7, LEVELS, SHAPE)) + start_noise(7, SHAPE))
        assert torch.equal(before[0], torch.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()
    assert torch.equal(*results)


def test_sources_do_not_disturb_each_other() -> None:
    alone = _draws(NoiseSource(7, LEVELS, SHAPE))
    source, other = NoiseSource(7, LEVELS, SHAPE), NoiseSource(8, LEVELS, SHAPE)
    together = [source.white(), source.white()]
    for pair in pairwise(LEVELS[:-1]):
        other.white()
        other.brownian(*pair)
        together.append(source.brownian(*pair))
    assert torch.equal(alone, torch.stack(together))


def test_brownian_increments_are_unit_noise_and_independent() -> None:
    draws = _draws(NoiseSource(3, LEVELS, (4, 4, 64, 64)))[2:]
    flat = draws.flatten(1)
    assert flat.std(1) == pytest.approx(torch.ones(len(flat)), abs=0.02)
    assert flat.mean(1) == pytest.approx(torch.zeros(len(flat)), abs=0.02)
    assert torch.corrcoef(flat) == pytest.approx(torch.eye(len(flat)), abs=0.02)


def test_brownian_increments_add_up() -> None:
    source = NoiseSource(3, LEVELS, SHAPE)
    high, middle, low = LEVELS[1], (LEVELS[1] * LEVELS[3]).sqrt(), LEVELS[3]
    parts = (
        source.brownian(high, middle) * (high - middle).sqrt() + source.brownian(middle, low) * (middle - low).sqrt()
    )
    assert torch.allclose(source.brownian(high, low) * (high - low).sqrt(), parts, atol=1e-5)


def test_the_path_does_not_depend_on_what_was_asked_before() -> None:
    source, fresh = NoiseSource(3, LEVELS, SHAPE), NoiseSource(3, LEVELS, SHAPE)
    _draws(source)
    assert torch.equal(source.brownian(LEVELS[2], LEVELS[3]), fresh.brownian(LEVELS[2], LEVELS[3]))


@pytest.mark.filterwarnings("ignore:Should have:UserWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_path_is_torchsdes_tree(seed: int) -> None:
    torchsde = pytest.importorskip("torchsde")
    for scheduler, steps in (("normal", 7), ("exponential", 3), ("linear_quadratic", 12)):
        levels = sigmas(sampler="dpmpp_sde", scheduler=scheduler, steps=steps, denoise=1.0)
        tree = torchsde.BrownianTree(levels[-2], torch.zeros(SHAPE), levels[0], entropy=seed)
        source = NoiseSource(seed, levels, SHAPE)
        for sigma, sigma_next in pairwise(levels[:-1]):
            expected = -tree(sigma_next, sigma) / (sigma - sigma_next).sqrt()
            assert torch.allclose(source.brownian(sigma, sigma_next), expected, atol=2e-5)


def test_a_single_step_needs_no_path() -> None:
    levels = torch.tensor([14.6, 0.0])
    assert NoiseSource(3, levels, SHAPE).white().shape == SHAPE


def test_another_process_draws_the_same() -> None:
    program = "from engine.sampling.noise import start_noise; print(start_noise(11, (1, 4, 8, 8)).sum().item())"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert float(printed) == start_noise(11, (1, 4, 8, 8)).sum().item()


def test_a_picture_of_a_batch_has_the_noise_that_it_had_there() -> None:
    batch = start_noise(42, (5, 4, 16, 16))
    assert torch.equal(start_noise(42, (2, 4, 16, 16), [3, 1]), batch[[3, 1]])
    assert torch.equal(start_noise(42, (3, 4, 16, 16), [2, 2, 0]), batch[[2, 2, 0]])


def test_pictures_are_drawn_one_by_one_where_they_have_indices() -> None:
    """4 · 3 · 5 numbers are no multiple of 16, in which torch draws normals."""
    generator = torch.Generator().manual_seed(42)
    alone = [torch.randn(1, 4, 3, 5, generator=generator) for _ in range(3)]
    assert torch.equal(start_noise(42, (2, 4, 3, 5), [2, 0]), torch.cat([alone[2], alone[0]]))
    assert not torch.equal(start_noise(42, (3, 4, 3, 5), [0, 1, 2]), start_noise(42, (3, 4, 3, 5)))


def test_brownian_noise_of_rising_sigmas_is_that_of_the_same_path() -> None:
    source = NoiseSource(3, LEVELS, SHAPE)
    assert torch.equal(source.brownian(LEVELS[2], LEVELS[1]), -source.brownian(LEVELS[1], LEVELS[2]))
