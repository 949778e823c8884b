"""Blurred masks and filled holes."""

from __future__ import annotations

import numpy
import pytest

from engine.pictures.blurring import blurred, filled


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


def test_a_hole_gets_the_colours_around_it_and_the_rest_stays() -> None:
    picture = numpy.zeros((40, 40, 3), numpy.uint8)
    picture[..., 0], picture[..., 2] = 200, 50
    picture[10:30, 10:30] = (0, 255, 0)
    mask = numpy.zeros((40, 40), numpy.uint8)
    mask[10:30, 10:30] = 255
    made = filled(picture, mask)
    assert (made[mask == 0] == picture[mask == 0]).all()
    assert (abs(made[mask > 0].astype(int) - (200, 0, 50)) <= 10).all()  # of blurs in 8 bits
