"""What preprocessors make of pictures of known content."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from torch import Tensor

from engine.pictures import preprocessing as made


def at_last(work: Generator[None, None, Tensor]) -> Tensor:
    """What ``work`` returns after all of its slices."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Tensor = end.value
            return found


def with_line(background: float, line: float) -> Tensor:
    """A picture of one grey with a line of another, three pixels wide."""
    picture = torch.full((1, 3, 64, 64), background, dtype=torch.float32)
    picture[:, :, :, 30:33] = line
    return picture


def test_a_scribble_is_black_where_any_colour_is_dark() -> None:
    picture = torch.full((1, 3, 4, 4), 200.0)
    picture[0, 1, 2, 1] = 126
    picture[0, 2, 3, 3] = 127
    scribble = made.scribble(picture)
    assert scribble.shape == (1, 1, 4, 4)
    assert (scribble == 0).nonzero().tolist() == [[0, 0, 2, 1]]
    assert scribble.max() == 255


@pytest.mark.parametrize(
    "lines",
    [lambda each: at_last(made.scribble_of_differences(each, 32)), lambda each: at_last(made.lines(each, 6, 8))],
)
def test_dark_lines_become_white_and_light_ones_nothing(lines: object) -> None:
    assert callable(lines)
    found = lines(with_line(220, 20))[0, 0]
    assert found[:, 31].ge(120).all()
    assert not found[:, :20].any()
    assert not found[:, 45:].any()
    assert not lines(with_line(20, 220))[0, 0, :, 31].any()
    assert not lines(torch.full((1, 3, 32, 32), 90.0)).any()


def test_fainter_lines_need_a_lower_threshold() -> None:
    faint = with_line(220, 190)
    assert at_last(made.scribble_of_differences(faint, 1)).any()
    assert not at_last(made.scribble_of_differences(faint, 64)).any()


def test_a_binary_picture_is_white_above_the_threshold() -> None:
    picture = torch.tensor([99.0, 100, 101, 255]).view(1, 1, 1, 4).expand(1, 3, -1, -1)
    assert made.binary(picture, 100).flatten().tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("threshold", [0, 255])
def test_otsu_parts_two_greys_for_each_picture(threshold: int) -> None:
    dark, light = with_line(20, 60), with_line(240, 180)
    found = made.binary(torch.cat([dark, light]), threshold)
    assert torch.equal(found[0, 0, 0] > 0, dark[0, 0, 0] == 60)
    assert torch.equal(found[1, 0, 0] > 0, light[0, 0, 0] == 240)


def test_otsu_makes_the_variance_between_both_classes_the_largest() -> None:
    grey = torch.randint(0, 256, (500,), generator=torch.Generator().manual_seed(0)).float() ** 1.2 % 256

    def between(threshold: int) -> float:
        low, high = grey[grey <= threshold], grey[grey > threshold]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2) if len(low) and len(high) else 0.0

    grey = grey.floor()
    assert between(int(made.otsu(grey))) == pytest.approx(max(map(between, range(256))), rel=1e-5)


def test_colours_are_blocks() -> None:
    picture = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0)) * 255
    blocks = made.colours(picture)
    assert blocks.shape == picture.shape
    for top, left in ((0, 0), (64, 128)):
        block = blocks[:, :, top : top + 64, left : left + 64]
        assert torch.equal(block, block[:, :, :1, :1].expand_as(block))


def test_a_tile_loses_fine_detail_and_keeps_coarse_shapes() -> None:
    places = torch.arange(128)
    fine = (255.0 * (places % 2)).expand(1, 3, 128, -1)
    coarse = (255.0 * (places > 63)).expand(1, 3, 128, -1)
    assert made.tile(fine, 128, 128, 3).std() < 1
    kept = made.tile(coarse, 128, 128, 3)
    assert kept[..., :40].max() < 10
    assert kept[..., 88:].min() > 245
    assert made.tile(fine, 64, 192, 2).shape == (1, 3, 64, 192)


def test_lightness_is_that_of_cie_and_intensity_the_strongest_colour() -> None:
    grey = torch.tensor([0.0, 119, 255]).view(1, 1, 1, 3).expand(1, 3, -1, -1)
    assert made.luminance(grey, 1).flatten().tolist() == [0, 128, 255]  # L* of 119 is 50
    colour = torch.tensor([10.0, 200, 30]).view(1, 3, 1, 1)
    assert made.intensity(colour, 1).item() == 200
    assert made.intensity(colour, 2).item() == int((200 / 255) ** 2 * 255)
