"""The weights of areas and masks in latent cells."""

from __future__ import annotations

import pytest
import torch

from engine.batching.coverage import bounds, faded, for_pictures, resized
from engine.batching.windows import Shares, Window


def test_an_area_fades_at_sides_within_the_picture_and_not_at_its_border() -> None:
    weight = faded(Window(0, 16, 32, 48), 64, 64)[0, 0]
    assert weight.shape == (32, 48)
    rising = torch.arange(1, 9) / 8
    assert torch.equal(weight[0, :8], rising)  # its left side lies within the picture
    assert torch.equal(weight[:, 47], torch.cat([torch.ones(24), rising.flip(0)]))  # its lower one too, not its right
    assert (weight[:25, 7:] == 1).all()


def test_the_fade_of_a_small_area_is_a_quarter_of_it_and_corners_fade_both_ways() -> None:
    weight = faded(Window(8, 8, 8, 12), 64, 64)[0, 0]
    down, across = torch.tensor([0.5, 1, 1, 1, 1, 1, 1, 0.5]), torch.ones(12)
    across[:3] = torch.tensor([1 / 3, 2 / 3, 1])
    across[9:] = across[:3].flip(0)
    torch.testing.assert_close(weight, down[:, None] * across)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_an_area_of_less_than_four_cells_does_not_fade(side: int) -> None:
    assert torch.equal(faded(Window(4, 4, side, side), 16, 16), torch.ones(1, 1, side, side))


def test_shares_round_to_cells_of_which_at_least_one_stays() -> None:
    assert Shares(0.5, 0.25, 0.5, 0.3).window(64, 48) == Window(32, 12, 32, 14)
    assert Shares(0.0, 1.0, 0.0, 0.001).window(64, 48) == Window(0, 48, 1, 1)


def test_a_window_is_cut_at_the_border_and_one_outside_is_no_window() -> None:
    assert Window(32, 8, 64, 16).cut(64, 64) == Window(32, 8, 32, 16)
    with pytest.raises(ValueError, match="outside"):
        Window(64, 0, 8, 8).cut(64, 64)


def test_a_mask_of_the_latents_size_stays_and_another_is_interpolated() -> None:
    mask = torch.rand(2, 8, 6)
    assert resized(mask, 8, 6) is mask
    halves = torch.zeros(1, 4, 4)
    halves[:, :, 2:] = 1
    assert resized(halves, 4, 8)[0, 0].tolist() == [0, 0, 0, 0.25, 0.75, 1, 1, 1]


def test_the_bounds_of_a_mask_hold_all_that_is_not_0_in_any_picture_and_at_least_8_cells() -> None:
    mask = torch.zeros(2, 32, 32)
    mask[0, 3, 20] = 0.1
    assert bounds(mask) == Window(3, 20, 8, 8)
    mask[1, 17, 4] = -0.1
    assert bounds(mask) == Window(3, 4, 15, 17)
    assert bounds(torch.zeros(1, 32, 32)) == Window(0, 0, 8, 8)


def test_masks_are_taken_in_turn_by_the_pictures_of_a_batch() -> None:
    masks = torch.rand(2, 4, 4)
    assert torch.equal(for_pictures(masks, 3)[:, 0], masks[[0, 1, 0]])
    assert for_pictures(masks[:1], 3).shape == (1, 1, 4, 4)
    assert torch.equal(for_pictures(masks, 1)[:, 0], masks[:1])
