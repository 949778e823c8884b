"""How much a prompt counts in each latent cell: the fading edges of areas, and masks.

Knows no prompt, no network and no node.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.batching.windows import Window

_FADE = 8
"""Cells over which an area's weight rises at a side that is not the picture's border."""

_LEAST_BOUNDS = 8
"""Cells, each way, of the smallest window around a mask."""


def faded(window: Window, height: int, width: int) -> Tensor:
    """Return the weight (1, 1, window) float32 of a window of latents of ``height`` × ``width`` cells.

    It is 1 inside and at the picture's border. From each other side it rises evenly to 1, over ``_FADE`` cells or a
    quarter of the window, whichever is less.
    """
    down = _rise(window.height, before=window.top != 0, behind=window.top + window.height < height)
    across = _rise(window.width, before=window.left != 0, behind=window.left + window.width < width)
    return (down[:, None] * across)[None, None]


def _rise(cells: int, *, before: bool, behind: bool) -> Tensor:
    weights, fade = torch.ones(cells), min(_FADE, cells // 4)
    ramp = torch.tensor([(1.0 / fade) * (cell + 1) for cell in range(fade)])
    if before:
        weights[:fade] *= ramp
    if behind:
        weights[cells - fade :] *= ramp.flip(0)
    return weights


def resized(mask: Tensor, height: int, width: int) -> Tensor:
    """Return masks (B, h, w) at the size of latents, interpolated between their values without antialiasing."""
    if mask.shape[1:] == (height, width):
        return mask
    return interpolate(mask[:, None], (height, width), mode="bilinear")[:, 0]


def bounds(mask: Tensor) -> Window:
    """Return the window around what is not 0 in any of the masks (B, h, w).

    It has at least 8 × 8 cells from its top left one on, and may reach beyond the masks.
    """
    rows, columns = ((mask != 0).any(0).any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    if not rows:
        return Window(0, 0, _LEAST_BOUNDS, _LEAST_BOUNDS)
    return Window(
        top=rows[0],
        left=columns[0],
        height=max(_LEAST_BOUNDS, rows[-1] - rows[0] + 1),
        width=max(_LEAST_BOUNDS, columns[-1] - columns[0] + 1),
    )


def for_pictures(mask: Tensor, pictures: int) -> Tensor:
    """Return masks (1 or B, 1, h, w) for a batch of ``pictures``: one for all, or the masks in turn."""
    if mask.shape[0] > 1:
        mask = mask.repeat(math.ceil(pictures / mask.shape[0]), 1, 1)[:pictures]
    return mask[:, None]
