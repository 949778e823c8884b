"""Tiles: they cover everything, fade into each other, and let others work in between."""

from __future__ import annotations

from collections.abc import Generator

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.pictures.tiling import Tiles, averaged, three_passes, tiled


def finished(work: Generator[None, None, Tensor]) -> tuple[Tensor, int]:
    """What comes of it, and how often it let others work."""
    pauses = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 12), st.integers(0, 3))
def test_tiles_of_what_has_no_borders_make_the_whole(height: int, width: int, tile: int, overlap: int) -> None:
    whole = torch.rand(1, 2, height, width)
    made, _ = finished(tiled(lambda part: part * 3, whole, Tiles(height=tile, width=tile, overlap=overlap), 1))
    assert torch.allclose(made, whole * 3, atol=1e-6)


@given(st.integers(1, 30), st.integers(1, 30))
def test_what_enlarges_is_put_together_in_its_new_size(height: int, width: int) -> None:
    whole = torch.rand(1, 2, height, width)

    def doubled(part: Tensor) -> Tensor:
        return part.repeat_interleave(2, 2).repeat_interleave(2, 3)

    made, _ = finished(tiled(doubled, whole, Tiles(height=8, width=6, overlap=2), 2))
    assert torch.allclose(made, doubled(whole), atol=1e-6)


def test_what_fits_is_one_tile_that_is_not_faded() -> None:
    whole = torch.rand(1, 1, 8, 8)
    made, pauses = finished(tiled(lambda part: part + 1, whole, Tiles(height=8, width=8, overlap=4), 1))
    assert torch.equal(made, whole + 1)
    assert pauses == 0


def test_others_work_between_tiles_and_within_them() -> None:
    def slow(part: Tensor) -> Generator[None, None, Tensor]:
        yield
        return part

    tiles = Tiles(height=4, width=4, overlap=0)
    assert finished(tiled(lambda part: part, torch.zeros(1, 1, 8, 8), tiles, 1))[1] == 3
    assert finished(tiled(slow, torch.zeros(1, 1, 8, 8), tiles, 1))[1] == 7


def test_weights_rise_over_the_overlap() -> None:
    numbers = iter((0.0, 1.0))
    made, _ = finished(tiled(lambda part: torch.full_like(part, next(numbers)), torch.zeros(1, 1, 1, 6), _row(4, 2), 1))
    assert torch.allclose(made[0, 0, 0], torch.tensor([0, 0, 0.5 / 1.5, 1 / 1.5, 1, 1]))


def _row(tile: int, overlap: int) -> Tiles:
    return Tiles(height=4, width=tile, overlap=overlap)


def test_three_passes_of_equal_area_are_averaged() -> None:
    passes = three_passes(8, 2)
    assert [(each.height, each.width) for each in passes] == [(8, 8), (16, 4), (4, 16)]
    shapes: list[tuple[int, ...]] = []

    def seen(part: Tensor) -> Tensor:
        shapes.append(tuple(part.shape[2:]))
        return part

    whole = torch.rand(1, 1, 16, 16)
    made, _ = finished(averaged(seen, whole, passes, 1))
    assert torch.allclose(made, whole, atol=1e-6)
    assert {(8, 8), (4, 16), (16, 4)} <= set(shapes)
