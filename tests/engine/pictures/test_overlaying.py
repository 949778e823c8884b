"""Filled holes, and pictures under holes."""

from __future__ import annotations

import numpy

from engine.pictures.overlaying import filled, pasted_under


def test_a_hole_gets_the_colours_around_it_and_the_rest_stays() -> None:
    picture = numpy.zeros((40, 40, 3), numpy.uint8)
    picture[..., 0], picture[..., 2] = 200, 50
    picture[10:30, 10:30] = (0, 255, 0)
    mask = numpy.zeros((40, 40), numpy.uint8)
    mask[10:30, 10:30] = 255
    made = filled(picture, mask)
    assert (made[mask == 0] == picture[mask == 0]).all()
    assert (abs(made[mask > 0].astype(int) - (200, 0, 50)) <= 10).all()  # of blurs in 8 bits


def test_a_picture_is_seen_in_the_hole_alone_at_its_place() -> None:
    original = numpy.full((20, 30, 3), (10, 20, 30), numpy.uint8)
    picture = numpy.full((8, 8, 3), (200, 100, 50), numpy.uint8)
    mask = numpy.zeros((20, 30), numpy.uint8)
    mask[4:8, 10:14] = 255
    mask[8, 10:14] = 128
    made = pasted_under(picture, original, mask, 9, 3)
    assert (made[mask == 0] == (10, 20, 30)).all()
    assert (made[mask == 255] == (200, 100, 50)).all()
    assert (abs(made[mask == 128].astype(int) - (105, 60, 40)) <= 2).all()
