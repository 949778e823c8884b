"""The edges of pictures (Canny 1986, A Computational Approach to Edge Detection). Knows no nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

_GREY = (0.299, 0.587, 0.114)
_SOBEL = (-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0)
_LEAST = 1e-6
"""What is added to squared slopes before their root, so that no slope is 0."""

_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""The neighbours (down, right) of a pixel, every 45 degrees, y pointing down."""

_AT_ONCE = 32
"""Pixels that edges grow along before it is looked whether they still do."""


def canny(pictures: Tensor, low: float, high: float) -> Iterator[Tensor]:
    """Yield the edges of pictures (B, 3, h, w), 0 … 1, as (B, 1, h, w) of zeros and ones, as far as they are found.

    Grey is blurred by a Gaussian of 5 × 5 pixels and sigma 1; slopes are Sobel's. A pixel steeper than both of its
    neighbours along the slope is an edge above ``high``; one above ``low`` is where an edge reaches it. The last of
    what is yielded has all of them.
    """
    slopes = _slopes(_blurred((pictures * pictures.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)))
    weak, edges = slopes > low, (slopes > high).float()
    while True:
        before = edges
        for _ in range(_AT_ONCE):
            edges = max_pool2d(edges, 3, stride=1, padding=1) * weak
        yield edges
        if torch.equal(before, edges):
            return


def _blurred(grey: Tensor) -> Tensor:
    places = torch.arange(-2.0, 3.0, device=grey.device)
    bell = torch.exp(-(places**2) / 2)
    bell = (bell / bell.sum())[None, None, None]
    return conv2d(conv2d(pad(grey, (2, 2, 2, 2), mode="reflect"), bell), bell.mT)


def _slopes(grey: Tensor) -> Tensor:
    """The steepness of each pixel; 0 where a neighbour along the slope is as steep."""
    kernel = grey.new_tensor(_SOBEL).view(1, 1, 3, 3)
    wide = pad(grey, (1, 1, 1, 1), mode="replicate")
    across, down = conv2d(wide, kernel), conv2d(wide, kernel.mT)
    steepness = torch.sqrt(across**2 + down**2 + _LEAST)
    direction = torch.round(torch.atan2(down, across) / (math.pi / 4)).long() % len(_AROUND)
    height, width = grey.shape[2:]
    rim = pad(steepness, (1, 1, 1, 1))
    around = torch.cat([rim[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in _AROUND], dim=1)
    ahead, behind = (around.gather(1, (direction + turn) % len(_AROUND)) for turn in (0, len(_AROUND) // 2))
    return steepness * (steepness > torch.maximum(ahead, behind))
