"""Scaling, and pasting one picture onto another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.pictures.compositing import composite_masked
from engine.pictures.scaling import cropped_to_aspect, extended, lanczos, repeated_to, resized

SIDES = st.integers(1, 12)


METHODS = [
    "nearest",
    "nearest-bytes",
    "nearest-exact",
    "bilinear",
    "area",
    "bicubic",
    "bilinear-antialiased",
    "bicubic-antialiased",
]


@given(SIDES, SIDES, SIDES, SIDES, st.booleans(), st.sampled_from(METHODS))
def test_any_size_becomes_any_other(
    height: int, width: int, new_height: int, new_width: int, crop: bool, method: str
) -> None:
    values = torch.rand(2, 3, height, width)
    assert resized(values, new_height, new_width, method, crop=crop).shape == (2, 3, new_height, new_width)
    assert resized(values, new_height, new_width, "lanczos", crop=crop).shape == (2, 3, new_height, new_width)


@given(SIDES, SIDES, st.integers(1, 500), st.integers(1, 500))
def test_a_crop_leaves_the_middle(height: int, width: int, new_height: int, new_width: int) -> None:
    part = cropped_to_aspect(torch.rand(1, 1, height, width), new_height, new_width)
    assert 1 <= part.shape[2] <= height
    assert 1 <= part.shape[3] <= width
    assert (height - part.shape[2]) % 2 == (width - part.shape[3]) % 2 == 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_with_antialiasing_every_cell_counts_where_latents_shrink(mode: str) -> None:
    values = torch.zeros(1, 1, 8, 64)
    values[..., 0] = 8.0  # none of the points that are taken without antialiasing lies near it
    assert resized(values, 8, 8, mode)[0, 0, 0, 0] == 0
    assert resized(values, 8, 8, f"{mode}-antialiased")[0, 0, 0, 0] > 0.1


@pytest.mark.parametrize("channels", [3, 4])
def test_lanczos_truncates_to_eight_bits_first(channels: int) -> None:
    pictures = torch.full((2, channels, 4, 4), 100.99 / 255)
    pictures[:, 3:] = 1.0
    assert torch.equal(lanczos(pictures, 6, 8)[:, :3], torch.full((2, 3, 6, 8), 100 / 255))
    assert torch.equal(lanczos(pictures * 5 - 3, 4, 4)[:, :3], torch.zeros(2, 3, 4, 4))


def test_the_nearest_cell_is_that_of_a_new_ones_left_end_or_middle() -> None:
    values = torch.tensor([0.1, 0.2, 0.3, 0.4])[None, None, None]
    assert torch.equal(resized(values, 1, 3, "nearest"), values[..., [0, 1, 2]])
    assert torch.equal(resized(values, 1, 3, "nearest-exact"), values[..., [0, 2, 3]])
    assert torch.equal(resized(values, 1, 3, "nearest-bytes") * 255, torch.tensor([25.0, 76, 102])[None, None, None])


def test_edges_go_on_up_to_the_border_of_a_larger_canvas() -> None:
    rows = torch.tensor([80.0, 40, 16])[None, None, :, None].expand(1, 1, 3, 2) / 255
    made = extended(rows, 6, 2)[0, 0, :, 0] * 255
    assert made.round().tolist() == [85, 85, 80, 40, 16, 13]
    turned = extended(rows.transpose(2, 3), 2, 6)
    assert torch.equal(turned, extended(rows, 6, 2).transpose(2, 3))
    assert torch.equal(extended(rows, 3, 2), rows)


def test_the_few_are_repeated_and_the_many_cut() -> None:
    values = torch.arange(3.0)[:, None]
    assert repeated_to(values, 5)[:, 0].tolist() == [0, 1, 2, 0, 1]
    assert repeated_to(values, 2)[:, 0].tolist() == [0, 1]


def test_a_mask_says_where_a_picture_is_pasted() -> None:
    below, above = torch.zeros(2, 1, 3, 4), torch.ones(1, 1, 2, 2)
    mask = torch.tensor([[[1.0, 0.25], [0.0, 1.0]]])
    made = composite_masked(below, above, 1, 1, mask, resize=False)
    assert made[1, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0.25, 0], [0, 0, 1, 0]]
    assert not below.any()


@pytest.mark.parametrize(("x", "y", "pasted"), [(3, 2, 1), (4, 0, 0), (0, 3, 0), (0, 0, 4)])
def test_what_lies_beyond_the_border_is_left_out(x: int, y: int, pasted: int) -> None:
    made = composite_masked(torch.zeros(1, 1, 3, 4), torch.ones(1, 1, 2, 2), x, y, None, resize=False)
    assert made.sum() == pasted


def test_what_is_pasted_may_be_scaled_first() -> None:
    made = composite_masked(torch.zeros(1, 1, 3, 4), torch.ones(1, 1, 2, 2), 1, 1, None, resize=True)
    assert made.sum() == 2 * 3
