"""Blurred masks."""

from __future__ import annotations

import numpy
import pytest

from engine.pictures.blurring import blurred


def test_a_blur_of_nothing_changes_nothing() -> None:
    mask = numpy.arange(48, dtype=numpy.uint8).reshape(6, 8)
    assert (blurred(mask, 0, 0) == mask).all()


@pytest.mark.parametrize("side", [1, 3, 40])
def test_an_even_mask_stays_even(side: int) -> None:
    mask = numpy.full((side, side), 200, numpy.uint8)
    assert (blurred(mask, 4, 4) == 200).all()


def test_an_edge_becomes_a_slope_along_the_way_that_is_blurred() -> None:
    mask = numpy.zeros((9, 60), numpy.uint8)
    mask[:, 30:] = 255
    across = blurred(mask, 4, 0)
    assert (numpy.diff(across[0].astype(int)) >= 0).all()
    assert across[0, 30 - 11] == 0  # the kernel reaches int(2.5 · 4 + 0.5) pixels
    assert 0 < across[0, 29] < across[0, 30] < 255
    assert (blurred(mask, 0, 4) == mask).all()


def test_weights_are_whole_256ths_that_add_up() -> None:
    mask = numpy.zeros((1, 61), numpy.uint8)
    mask[0, 30] = 255
    spread = blurred(mask, 4, 0)[0].astype(int)
    assert (spread == spread[::-1]).all()
    assert not spread[:20].any()
    assert abs(spread.sum() - 255) <= 10  # half a step for each of 21 pixels
    assert set(spread).issubset({(255 * weight + 128) // 256 for weight in range(257)})
