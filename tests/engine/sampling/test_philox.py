"""A CUDA device's normal numbers, computed on the CPU."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from engine.sampling.devices import MOST_CUDA_NUMBERS
from engine.sampling.noise import NoiseSource, start_noise
from engine.sampling.philox import _philox, cuda_normals

FIRST = [-0.92466, -0.42534, -2.64385, 0.14518, -0.12087, -0.57973, -0.62285, -0.32839, -1.07454, -0.36314]
"""What ``torch.randn(10, device="cuda")`` gives after ``manual_seed(0)``."""

SHAPE = (1, 4, 8, 8)


def test_the_numbers_are_those_of_a_device() -> None:
    assert cuda_normals(0, 0, 10) == pytest.approx(FIRST, abs=1e-5)
    assert start_noise(0, SHAPE, drawn_on="cuda").flatten()[:10].tolist() == pytest.approx(FIRST, abs=1e-5)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D)),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0A4093822, (0xD16CFE09, 0x94FDCCEB)),
    ],
)
def test_the_words_are_those_of_the_papers_authors(counter: tuple[int, ...], key: int, words: tuple[int, int]) -> None:
    """Known answers that the authors' Random123 library is tested with."""
    one, two, three, four = (np.array([word], dtype=np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in _philox((one, two, three, four), key)) == words


def test_a_longer_tensor_begins_as_a_shorter_one_and_draws_differ() -> None:
    long, short = cuda_normals(7, 0, MOST_CUDA_NUMBERS), cuda_normals(7, 0, 100)
    assert np.array_equal(long[:100], short)
    assert abs(long.mean()) < 0.01
    assert abs(long.std() - 1) < 0.01
    others = [cuda_normals(7, 1, 5000), cuda_normals(8, 0, 5000), cuda_normals(7 + 2**32, 0, 5000)]
    assert all(abs(np.corrcoef(long[:5000], other)[0, 1]) < 0.05 for other in others)


def test_step_noise_of_a_device_comes_from_the_seed_itself() -> None:
    levels = torch.tensor([10.0, 5.0, 1.0, 0.0])
    source = NoiseSource(3, levels, SHAPE, drawn_on="cuda")
    for draw in range(3):
        expected = torch.from_numpy(cuda_normals(3, draw, 256)).reshape(SHAPE)
        assert torch.equal(source.white(), expected)


def test_pictures_of_a_batch_are_drawn_one_after_the_other() -> None:
    picked = start_noise(3, (2, 4, 8, 8), [2, 0], drawn_on="cuda")
    for picture, draw in zip(picked, (2, 0), strict=True):
        assert torch.equal(picture.flatten(), torch.from_numpy(cuda_normals(3, draw, 256)))


def test_the_brownian_path_is_a_cpus_unless_it_is_said_otherwise() -> None:
    levels = torch.tensor([10.0, 5.0, 1.0])
    paths = [
        NoiseSource(3, levels, SHAPE).brownian(levels[0], levels[1]),
        NoiseSource(3, levels, SHAPE, drawn_on="cuda").brownian(levels[0], levels[1]),
        NoiseSource(3, levels, SHAPE, drawn_on="cuda", path_drawn_on="cuda").brownian(levels[0], levels[1]),
    ]
    assert torch.equal(paths[0], paths[1])
    assert not torch.allclose(paths[0], paths[2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**63 + 11, 2**64 - 1])
@pytest.mark.parametrize("count", [1, 100, 16384, 40_000])
def test_a_device_draws_the_same(seed: int, count: int) -> None:
    generator = torch.Generator("cuda").manual_seed(seed if seed < 2**63 else seed - 2**64)
    for draw in range(4):
        theirs = torch.randn(count, generator=generator, device="cuda").cpu()
        assert torch.allclose(torch.from_numpy(cuda_normals(seed, draw, count)), theirs, rtol=2e-6, atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_has_the_same_brownian_path() -> None:
    torchsde = pytest.importorskip("torchsde")
    levels = torch.tensor([14.5, 5.0, 1.25, 0.5])  # which torchsde's rounding of times leaves as they are
    source = NoiseSource(9, levels, SHAPE, drawn_on="cuda", path_drawn_on="cuda")
    tree = torchsde.BrownianTree(levels[-1], torch.zeros(SHAPE, device="cuda"), levels[0], entropy=9)
    for high, low in pairwise(levels):
        expected = -tree(low, high).cpu() / (high - low).sqrt()
        assert torch.allclose(source.brownian(high, low), expected, atol=1e-4)
