"""Where in a picture a prompt counts: areas, masks, and the weight that they give each latent cell.

Knows no prompt, no network and no node.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.batching.branches import Window

_FADE = 8
"""Cells over which an area's weight rises at a side that is not the picture's border."""

_LEAST_BOUNDS = 8
"""Cells, each way, of the smallest window around a mask."""


class Shares(NamedTuple):
    """A part of the latents, in shares of their height and width."""

    top: float
    left: float
    height: float
    width: float

    def window(self, height: int, width: int) -> Window:
        """Return the part of latents of ``height`` × ``width`` cells, at least one cell each way."""
        return Window(
            top=round(self.top * height),
            left=round(self.left * width),
            height=max(1, round(self.height * height)),
            width=max(1, round(self.width * width)),
        )


def contains(outer: Window, inner: Window) -> bool:
    """Return whether all of ``inner`` lies in ``outer``."""
    return (
        outer.top <= inner.top
        and outer.left <= inner.left
        and inner.top + inner.height <= outer.top + outer.height
        and inner.left + inner.width <= outer.left + outer.width
    )


def cut(window: Window, height: int, width: int) -> Window | None:
    """Return what of ``window`` lies in latents of ``height`` × ``width`` cells; None: it is all of them."""
    inside = window._replace(
        height=min(window.height, height - window.top), width=min(window.width, width - window.left)
    )
    assert min(inside.height, inside.width) > 0, "areas outside the picture are refused beforehand"
    return None if inside == (0, 0, height, width) else inside


def faded(window: Window, height: int, width: int) -> Tensor:
    """Return the weight (1, 1, window) float32 of a window of latents of ``height`` × ``width`` cells.

    It is 1 inside and at the picture's border, and rises evenly from each other side, over an eighth of the border's
    cells: over ``_FADE`` of them, or a quarter of the window if that is less.
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
