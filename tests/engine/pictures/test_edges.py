"""Canny's edges: where they lie, what carries them on, and that they are one pixel wide."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.pictures.edges import canny, canny_of_bytes


def found(picture: Tensor, low: float = 0.4, high: float = 0.8) -> Tensor:
    """The edges of a picture (h, w), the same in all channels."""
    return list(canny(picture.expand(1, 3, -1, -1), low, high))[-1][0, 0]


def test_a_plain_picture_has_no_edges() -> None:
    assert not found(torch.full((32, 40), 0.7)).any()


def test_a_square_has_its_outline_one_pixel_wide() -> None:
    picture = torch.zeros(64, 64)
    picture[16:48, 16:48] = 1
    edges = found(picture + torch.linspace(0, 1e-3, 64))  # no two slopes are equal
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    for line in (edges[32], edges[:, 32] if edges[:, 32].any() else edges[32]):
        places = line.nonzero().flatten()
        assert len(places) == 2
        assert (places - torch.tensor([16, 48])).abs().max() <= 1
    assert not edges[20:44, 20:44].any()
    assert not edges[:12].any()


def test_a_weak_edge_counts_as_far_as_a_strong_one_reaches_it() -> None:
    heights = torch.cat([torch.full((40,), 0.2), torch.linspace(0.2, 1.0, 40), torch.full((120,), 0.2)])
    picture = torch.zeros(200, 64)
    picture[:, 32:] = heights[:, None]
    picture[150:] = 0
    reached = found(picture, low=0.3, high=1.5)
    assert reached[70].any()
    assert reached[10].any()
    assert not found(picture[:30], low=0.3, high=1.5).any()
    assert not found(picture, low=2.5, high=2.5)[10].any()


def edges_of_bytes(picture: Tensor, low: int, high: int) -> Tensor:
    """The edges of a picture (3, h, w) of bytes."""
    return list(canny_of_bytes(picture[None], low, high))[-1][0, 0]


def test_edges_of_bytes_lie_where_the_slope_is_steepest() -> None:
    picture = torch.zeros(3, 20, 24)
    picture[:, :, 12:] = 100
    edges = edges_of_bytes(picture, 100, 300)
    assert edges[:, 11].all()  # of the two columns beside the step the left one
    assert edges.sum() == 20
    assert torch.equal(edges_of_bytes(picture.mT, 100, 300), edges.T)
    assert not edges_of_bytes(picture, 100, 400).any()  # Sobel's slope is four times the step
    assert torch.equal(edges_of_bytes(picture, 300, 100), edges)


def test_the_colour_that_changes_most_decides() -> None:
    picture = torch.zeros(3, 20, 24)
    picture[0, :, 12:] = 100
    picture[1, 10:] = 97
    edges = edges_of_bytes(picture, 390, 390)
    assert edges[2:18, 11].all()
    assert not edges[9:11, 2:8].any()


def test_slanted_edges_are_found_as_their_mirror_images_are() -> None:
    places = torch.arange(40.0)
    picture = (100 * (places[:, None] + places > 45)).expand(3, -1, -1)
    edges = edges_of_bytes(picture, 50, 150)
    assert edges.sum() > 20
    assert torch.equal(edges_of_bytes(picture.flip(2), 50, 150).flip(1), edges)
