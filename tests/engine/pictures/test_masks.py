"""Masks: grown, feathered, put together, as ComfyUI does it."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from engine.pictures import masks


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))


def dilated(mask: Tensor, times: int, *, tapered: bool) -> Tensor:
    """ComfyUI's way: a step of one pixel, as often as it takes."""
    corner = 0 if tapered else 1
    footprint = numpy.array([[corner, 1, corner], [1, 1, 1], [corner, 1, corner]])
    step = ndimage.grey_dilation if times > 0 else ndimage.grey_erosion
    values = mask[0].numpy()
    for _ in range(abs(times)):
        values = step(values, footprint=footprint)
    return torch.from_numpy(values)[None]


@given(st.integers(1, 24), st.integers(1, 24), st.integers(-30, 30), st.booleans())
def test_growing_is_dilation_pixel_by_pixel(height: int, width: int, pixels: int, tapered: bool) -> None:
    mask = noise(height, width, seed=pixels + 30)
    assert torch.equal(masks.grown(mask, pixels, tapered=tapered), dilated(mask, pixels, tapered=tapered))


def test_growing_by_thousands_of_pixels_ends() -> None:
    mask = noise(6, 5)
    for tapered in (False, True):
        assert (masks.grown(mask, 16384, tapered=tapered) == mask.max()).all()
        assert (masks.grown(mask, -16384, tapered=tapered) == mask.min()).all()


@pytest.mark.parametrize(("pixels", "before", "after"), [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 1, 1), (6, 3, 2)])
def test_an_even_growth_for_inpainting_is_lopsided(pixels: int, before: int, after: int) -> None:
    mask = torch.zeros(1, 20, 20)
    mask[0, 10, 10] = 1
    kernel = torch.ones(1, 1, max(pixels, 1), max(pixels, 1))
    padding = -(-(max(pixels, 1) - 1) // 2)
    box = torch.nn.functional.conv2d(mask[:, None], kernel, padding=padding)[:, 0, :20, :20]
    grown = masks.grown_for_inpainting(mask, pixels)
    assert torch.equal(grown, box.clamp(0, 1))
    rows = grown[0].amax(1).nonzero()[:, 0]
    assert sorted((int(10 - rows.min()), int(rows.max() - 10))) == sorted((before, after))


@given(st.integers(1, 9), st.integers(1, 9), *[st.integers(0, 12)] * 4)
def test_feathering_is_off_by_one_at_the_right_and_below(
    height: int, width: int, left: int, top: int, right: int, bottom: int
) -> None:
    wanted = torch.ones(1, height, width)
    for x in range(min(left, width)):
        wanted[:, :, x] *= (x + 1) / min(left, width)
    for x in range(min(right, width)):
        wanted[:, :, -x] *= (x + 1) / min(right, width)
    for y in range(min(top, height)):
        wanted[:, y] *= (y + 1) / min(top, height)
    for y in range(min(bottom, height)):
        wanted[:, -y] *= (y + 1) / min(bottom, height)
    found = masks.feathered(torch.ones(1, height, width), left, top, right, bottom)
    assert torch.allclose(found, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("multiply", [[0.6, 0.6], [0.6, 0.18]]),
        ("add", [[0.6, 0.6], [0.6, 0.9]]),
        ("subtract", [[0.6, 0.6], [0.6, 0.3]]),
        ("and", [[0.6, 0.6], [0.6, 0.0]]),
        ("or", [[0.6, 0.6], [0.6, 1.0]]),
        ("xor", [[0.6, 0.6], [0.6, 1.0]]),
    ],
)
def test_masks_are_combined_where_they_overlap(operation: str, wanted: list[list[float]]) -> None:
    below, above = torch.full((1, 2, 2), 0.6), torch.full((1, 3, 3), 0.3)
    assert torch.allclose(masks.combined(below, above, 1, 1, operation), torch.tensor([wanted]))


@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, 2), (50, 50)])
def test_a_mask_beyond_the_other_changes_nothing(x: int, y: int) -> None:
    below = torch.full((1, 2, 2), 0.6)
    assert torch.equal(masks.combined(below, torch.ones(1, 3, 3), x, y, "subtract"), below)


def test_the_mask_of_padding_falls_from_the_padded_sides_alone() -> None:
    mask = masks.padding(8, 9, left=2, top=0, right=0, bottom=1, feathering=2)[0]
    assert mask.shape == (9, 11)
    assert (mask[:, :2] == 1).all()
    assert (mask[8] == 1).all()
    assert mask[3, 2:6].tolist() == [1.0, 0.25, 0.0, 0.0]
    assert mask[5:8, 8].tolist() == [0.0, 0.0, 0.25]
    assert not mask[0, 4:].any()


def test_a_picture_that_is_too_small_is_not_feathered() -> None:
    assert not masks.padding(4, 9, left=2, top=0, right=0, bottom=0, feathering=2)[0, :, 2:].any()
