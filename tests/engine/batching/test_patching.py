"""Patches for one evaluation: which are active, and where their random choices come from."""

from __future__ import annotations

import math

import torch

from engine.batching.branches import Part
from engine.batching.patching import Patching
from engine.networks.free_u import FreeU
from engine.networks.layout import Layout
from engine.networks.merging import TokenMerging
from engine.networks.patches import Patches
from engine.networks.shrink import Shrink
from engine.networks.tiling import HyperTile, Tiles
from engine.sampling.noise import behind_start_noise, start_noise

LAYOUT = Layout(down=((1,), (0,)), middle=1, up=((0, 0), (1, 1)))
X = torch.zeros(1, 4, 8, 8)
FREE_U = FreeU(backbone=(1.1, 1.2), skip=(0.9, 0.2))
SHRINK = Shrink(
    block=2, factor=2, first_sigma=math.inf, last_sigma=5.0, after_join=True, shrinking="area", enlarging="area"
)


def part(patches: Patches, tokens: int = 77) -> Part:
    return Part(conditioning=torch.zeros(1, tokens, 4), patches=patches)


def patching(seed: int = 0) -> Patching:
    return Patching(LAYOUT, torch.Generator().manual_seed(seed))


def test_parts_without_choices_stay_as_they_are() -> None:
    own = part((FREE_U, SHRINK))
    (same,) = patching().of([own], torch.tensor(6.0), X)
    assert same is own


def test_a_patch_is_left_out_where_it_is_not_active() -> None:
    (later,) = patching().of([part((SHRINK, FREE_U))], torch.tensor(4.0), X)
    assert later.patches == (FREE_U,)


def test_parts_of_one_call_have_their_choices_in_common() -> None:
    patches = (TokenMerging(ratio=0.5),)
    first, second, longer = patching().of([part(patches), part(patches), part(patches, 385)], torch.tensor(1.0), X)
    assert first.beside[0] is second.beside[0]
    assert first.beside[0].shape == (1, 3, 16)
    assert not torch.equal(first.beside[0], longer.beside[0])


def test_choices_are_drawn_layer_by_layer_from_one_generator() -> None:
    tiles, merging = HyperTile(tile=4, swaps=3, depth=0, scaled=False), TokenMerging(ratio=0.5)
    (found,) = patching(5).of([part((tiles, merging))], torch.tensor(1.0), X)
    generator = torch.Generator().manual_seed(5)
    grids = []
    for _ in range(3):  # the divisors 4 and 8 of a side: one number is drawn, of one, for each of two sides
        torch.randint(0, 1, (1,), generator=generator)
        torch.randint(0, 1, (1,), generator=generator)
        grids.append((8, 8, 2, 2))
    applied = found.patches[0]
    assert isinstance(applied, Tiles)
    assert applied.grids == (grids[0], None, *grids[1:])
    assert found.beside == ()  # in tiles no token is merged


def test_the_generator_goes_on_where_the_start_noise_ended() -> None:
    generator = torch.Generator().manual_seed(9)
    batch = torch.randn(2, 4, 8, 8, generator=generator)
    assert torch.equal(batch, start_noise(9, (2, 4, 8, 8)))
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=behind_start_noise(9, (2, 4, 8, 8))))
    one_by_one = behind_start_noise(9, (1, 4, 3, 3), [2])
    generator.manual_seed(9)
    for _ in range(3):
        torch.randn(1, 4, 3, 3, generator=generator)
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=one_by_one))


def test_numbers_may_be_passed_over() -> None:
    one, other = patching(1), patching(1)
    one.skip(X)
    patches = (TokenMerging(ratio=0.5),)
    first, second = (each.of([part(patches)], torch.tensor(1.0), X)[0].beside[0] for each in (one, other))
    assert not torch.equal(first, second)
