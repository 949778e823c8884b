"""Latents pasted onto others."""

from __future__ import annotations

import pytest
import torch

from engine.pictures.latents import composite

BELOW, ABOVE = torch.zeros(1, 4, 6, 8), torch.ones(1, 4, 3, 4)


@pytest.mark.parametrize("feather", [0, 2])
@pytest.mark.parametrize(("x", "y"), [(8, 0), (0, 6), (8, 6), (9, 2), (2, 8), (100, 100)])
def test_latents_pasted_at_or_beyond_the_border_change_nothing(x: int, y: int, feather: int) -> None:
    assert torch.equal(composite(BELOW, ABOVE, x, y, feather), BELOW)


@pytest.mark.parametrize(("x", "y", "cells"), [(0, 0, 12), (6, 1, 6), (7, 5, 1), (4, 3, 12)])
def test_what_reaches_beyond_the_border_is_cut(x: int, y: int, cells: int) -> None:
    made = composite(BELOW, ABOVE, x, y, 0)
    assert made.shape == BELOW.shape
    assert made[0, 0].sum() == cells
    assert made[:, :, y, x].eq(1).all()


def test_feathered_edges_fade_where_what_is_below_goes_on() -> None:
    made = composite(BELOW, torch.ones(1, 4, 6, 4), 4, 0, 2)[0, 0]
    assert torch.equal(made, torch.tensor([0.0, 0, 0, 0, 0.5, 1, 1, 1]).expand(6, 8))
