"""Filters are held to their definitions, computed pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.pictures import filters


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(seed))


def mirrored_place(place: int, side: int) -> int:
    while not 0 <= place < side:
        place = -place if place < 0 else 2 * (side - 1) - place
        if side == 1:
            return 0
    return place


@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0])
def test_a_gaussian_is_a_weighted_mean_of_mirrored_neighbours(height: int, width: int, sigma: float) -> None:
    x = picture(height, width)
    made = filters.gaussian(x, sigma)
    reach = math.ceil(4 * sigma) + 1
    weights = {k: math.exp(-k * k / (2 * sigma**2)) if sigma else float(k == 0) for k in range(-reach, reach + 1)}
    total = sum(weights.values())
    column = [
        sum(w * float(x[0, 0, mirrored_place(r + k, height), 0]) for k, w in weights.items()) / total
        for r in range(height)
    ]
    if width == 1:
        torch.testing.assert_close(made[0, 0, :, 0], torch.tensor(column), rtol=0, atol=2e-4)
    torch.testing.assert_close(made.mT, filters.gaussian(x.mT, sigma))
    torch.testing.assert_close(filters.gaussian(torch.full_like(x, 0.3), sigma), torch.full_like(x, 0.3))
    assert made.min() >= x.min() - 1e-6
    assert made.max() <= x.max() + 1e-6


def test_areas_are_means_and_whole_factors_are_pooling() -> None:
    x = picture(12, 18)
    torch.testing.assert_close(filters.by_area(x, 4, 6), torch.nn.functional.avg_pool2d(x, 3))
    torch.testing.assert_close(filters.by_area(x, 12, 18), x)
    made = filters.by_area(x, 5, 7)
    torch.testing.assert_close(made.mean((2, 3)), x.mean((2, 3)))
    share = filters.by_area(torch.tensor([[[[1.0, 0, 0]]]]), 1, 2)
    torch.testing.assert_close(share[0, 0, 0], torch.tensor([2 / 3, 0]))  # of 1.5 pixels one


@pytest.mark.parametrize(("height", "width"), [(4, 6), (1, 5), (1, 1)])
def test_doubling_weighs_even_and_odd_places_by_the_pyramids_kernel(height: int, width: int) -> None:
    x = picture(height, width)
    made = filters.doubled(x)
    assert made.shape == (1, 2, 2 * height, 2 * width)
    torch.testing.assert_close(filters.doubled(torch.ones_like(x)), torch.ones(1, 2, 2 * height, 2 * width))
    if height > 1:
        inner = x[0, 0, 1:3, 1:3]
        torch.testing.assert_close(made[0, 0, 3, 3], inner.mean())
        centre = (x[0, 0, 0:3, 0:3] * torch.tensor([[1.0, 6, 1], [6, 36, 6], [1, 6, 1]])).sum() / 64
        torch.testing.assert_close(made[0, 0, 2, 2], centre)


@pytest.mark.parametrize("radius", [1, 3, 31])
def test_blurring_and_sharpening_leave_plain_pictures_as_they_are(radius: int) -> None:
    plain = torch.full((1, 3, 8, 5), 0.4)
    torch.testing.assert_close(filters.blurred(plain, radius, 1.0), plain)
    torch.testing.assert_close(filters.sharpened(plain, radius, 1.0, 5.0), plain, rtol=0, atol=1e-4)


def test_sharpening_adds_the_difference_from_a_blurred_picture() -> None:
    x = 0.45 + 0.1 * picture(9, 8)
    wanted = x + 10 * 0.2 * (x - filters.blurred(x, 2, 0.7))
    torch.testing.assert_close(filters.sharpened(x, 2, 0.7, 0.2), wanted.clamp(0, 1))


def test_the_bell_is_as_wide_in_each_radius() -> None:
    small, large = filters.bell(1, 0.5), filters.bell(4, 0.5)
    assert small.shape == (3,)
    assert float(small.sum()) == pytest.approx(1)
    ratio = math.exp(-1 / (2 * 0.25))
    assert float(small[2] / small[1]) == pytest.approx(ratio)
    assert float(large[8] / large[4]) == pytest.approx(ratio)


@pytest.mark.parametrize("radius", [1, 4, 9])
def test_a_blur_is_a_convolution_by_the_bell_of_both_sides(radius: int) -> None:
    x, row = picture(12, 11), filters.bell(radius, 0.6).float()
    wide = torch.nn.functional.pad(x, (radius,) * 4, mode="reflect")
    wanted = torch.nn.functional.conv2d(wide.movedim(1, 0), torch.outer(row, row)[None, None]).movedim(0, 1)
    torch.testing.assert_close(filters.blurred(x, radius, 0.6), wanted)


def test_larger_pictures_are_bicubic_and_smaller_ones_means() -> None:
    x = (picture(6, 9) * 255).round()
    torch.testing.assert_close(
        filters.resampled(x, 12, 18), interpolate(x, size=(12, 18), mode="bicubic").round().clamp(0, 255)
    )
    torch.testing.assert_close(filters.resampled(x, 2, 3), torch.nn.functional.avg_pool2d(x, 3).round())
