"""The edges of pictures (Canny 1986, A Computational Approach to Edge Detection). Knows no nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

from engine.pictures.filters import GREY, along_width, mirrored

_SOBEL = (-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0)
_TAN_22 = 13573 / 2**15
"""The tangent of 22.5 degrees, as OpenCV has it."""

_LEAST = 1e-6
"""What is added to squared slopes before their root, so that no slope is 0."""

_AHEAD = ((0, 1), (1, 1), (1, 0), (1, -1))
"""The neighbours (down, right) of a pixel, every 45 degrees, y pointing down; those behind it lie opposite."""

_AT_ONCE = 32
"""Pixels that edges grow along before it is looked whether they still do."""

_PIXELS_AT_ONCE = 1 << 22
"""Pixels that are looked at, each time that edges grow by one, before others get their turn."""


def canny(pictures: Tensor, low: float, high: float) -> Iterator[Tensor]:
    """Yield the edges of pictures (B, 3, h, w), 0 … 1, as (B, 1, h, w) of zeros and ones, as far as they are found.

    Grey is blurred by a Gaussian of 5 × 5 pixels and sigma 1; slopes are Sobel's. A pixel steeper than both of its
    neighbours along the slope is an edge above ``high``; one above ``low`` is where an edge reaches it. The last of
    what is yielded has all of them.
    """
    grey = (pictures * pictures.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    none, bell = torch.zeros_like(grey), _bell().to(grey)
    rows = conv2d(mirrored(mirrored(grey, 2).mT, 2).mT, bell)
    yield none
    blurred = conv2d(rows, bell.mT)
    yield none
    across, down = _convolved_slopes(blurred)
    yield none
    yield from _grown(_slopes(across, down), low, high)


def canny_of_bytes(pictures: Tensor, low: int, high: int) -> Iterator[Tensor]:
    """Yield what ``canny`` yields, of pictures of bytes (0 … 255) that are not blurred, as OpenCV finds edges.

    A pixel has the slope of the colour that changes most there; how steep it is, is the sum of both directions'.
    """
    yield from _grown(_sector_slopes(pictures), *sorted((low, high)))


def _grown(slopes: Tensor, low: float, high: float) -> Iterator[Tensor]:
    """The edges of slopes above ``high``, along those above ``low``, as far as they have grown."""
    weak, edges = slopes > low, (slopes > high).float()
    yield edges
    often = max(1, _PIXELS_AT_ONCE // edges.numel())
    while True:
        before = edges
        for turn in range(_AT_ONCE):
            edges = max_pool2d(edges, 3, stride=1, padding=1) * weak
            if turn % often == often - 1:
                yield edges
        yield edges
        if torch.equal(before, edges):
            return


def _bell() -> Tensor:
    """The Gaussian of a row, (1, 1, 1, 5)."""
    bell = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / 2)
    return (bell / bell.sum())[None, None, None]


def _convolved_slopes(grey: Tensor) -> tuple[Tensor, Tensor]:
    """What ``_sobel`` returns, summed up by convolutions, as ComfyUI does: where two neighbours are as steep as each
    other, the last bits of the sums decide which one is an edge."""
    kernel = grey.new_tensor(_SOBEL).view(1, 1, 3, 3)
    wide = pad(grey, (1, 1, 1, 1), mode="replicate")
    return conv2d(wide, kernel), conv2d(wide, kernel.mT)


def _sobel(colour: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes (B, 1, h, w) across and down of whole numbers, whose sums are exact."""
    wide = pad(colour, (1, 1, 1, 1), mode="replicate")
    return _steps(along_width(wide.mT, (1, 2, 1)).mT), _steps(along_width(wide, (1, 2, 1)).mT).mT


def _steps(wide: Tensor) -> Tensor:
    """The differences between each pixel's neighbours in its row."""
    return wide[..., 2:] - wide[..., :-2]


def _sector_slopes(pictures: Tensor) -> Tensor:
    """The steepness of each pixel; 0 where a neighbour in the sector of 45 degrees that the slope points to is steeper.

    Of two neighbours as steep, that on the right or below is the edge; on a diagonal neither is.
    """
    across, down, steepness = _steepest(pictures)
    rim, (height, width) = pad(steepness, (1, 1, 1, 1)), steepness.shape[2:]

    def beside(y: int, x: int) -> Tensor:
        return rim[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    level = down.abs() < across.abs() * _TAN_22
    steep = down.abs() > across.abs() * (_TAN_22 + 2)
    falling = (across < 0) != (down < 0)
    one = torch.where(falling, beside(-1, 1), beside(-1, -1))
    other = torch.where(falling, beside(1, -1), beside(1, 1))
    kept = (steepness > one) & (steepness > other)
    kept = torch.where(steep, (steepness > beside(-1, 0)) & (steepness >= beside(1, 0)), kept)
    kept = torch.where(level, (steepness > beside(0, -1)) & (steepness >= beside(0, 1)), kept)
    edges: Tensor = steepness * kept
    return edges


def _steepest(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The slopes across and down, and the sum of their sizes, of the colour in which that is largest."""
    first, *others = pictures.split(1, dim=1)
    across, down = _sobel(first)
    steepness = across.abs() + down.abs()
    for colour in others:
        slopes = _sobel(colour)
        sizes = slopes[0].abs() + slopes[1].abs()
        more = sizes > steepness
        across, down, steepness = (
            torch.where(more, new, old) for new, old in zip((*slopes, sizes), (across, down, steepness), strict=True)
        )
    return across, down, steepness


def _slopes(across: Tensor, down: Tensor) -> Tensor:
    """The steepness of each pixel; 0 where a neighbour along the slope is as steep."""
    steepness = torch.sqrt(across**2 + down**2 + _LEAST)
    axis = torch.round(torch.atan2(down, across) / (math.pi / 4)).remainder(len(_AHEAD))
    height, width = across.shape[2:]
    rim, highest = pad(steepness, (1, 1, 1, 1)), steepness
    for number, (y, x) in enumerate(_AHEAD):
        ahead = rim[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        behind = rim[:, :, 1 - y : 1 - y + height, 1 - x : 1 - x + width]
        highest = torch.where(axis == number, torch.maximum(ahead, behind), highest)
    return steepness * (steepness > highest)
