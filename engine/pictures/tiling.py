"""A picture or its latents, worked on in overlapping tiles that fade into each other. Knows no network and no nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Work: TypeAlias = Callable[[Tensor], "Tensor | Generator[None, None, Tensor]"]
"""Makes (1, C', h · factor, w · factor) of (1, C, h, w): at once, or yielding where others may get their turn."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """The tiles of one pass, in the units of what enters."""

    height: int
    width: int
    overlap: int
    """Between neighbouring tiles, which fade over as much at all their sides, the picture's border included."""

    def fits(self, height: int, width: int) -> bool:
        """Return whether one tile takes in the whole, which is not faded then."""
        return height <= self.height and width <= self.width

    def starts(self, side: int, tile: int) -> list[int]:
        """Return where the tiles along a side begin."""
        return list(range(0, side - self.overlap, tile - self.overlap)) if side > tile else [0]


def three_passes(tile: int, overlap: int) -> tuple[Tiles, Tiles, Tiles]:
    """Square tiles of side ``tile``, and those half as wide and twice as high, and the other way round."""
    half, double = tile // 2, tile * 2
    sides = ((tile, tile), (double, half), (half, double))
    first, second, third = (Tiles(height=height, width=width, overlap=overlap) for height, width in sides)
    return first, second, third


def tiled(work: Work, whole: Tensor, tiles: Tiles, factor: float) -> Generator[None, None, Tensor]:
    """Return ``work`` of ``whole`` (1, C, h, w), tile by tile; yields between tiles, so that others get their turn.

    Where tiles overlap, they are averaged, each weighing less towards its sides: (t + 1) / overlap at distance t.
    """
    height, width = whole.shape[2:]
    if tiles.fits(height, width):
        return (yield from _done(work, whole))
    total = weights = torch.zeros(())
    fade = round(tiles.overlap * factor)
    places = itertools.product(tiles.starts(height, tiles.height), tiles.starts(width, tiles.width))
    for number, (y, x) in enumerate(places):
        if number:
            yield
        made = yield from _done(work, whole[:, :, y : y + tiles.height, x : x + tiles.width])
        if not number:
            size = (1, made.shape[1], round(height * factor), round(width * factor))
            total = torch.zeros(size, device=made.device)
            weights = torch.zeros((1, 1, *size[2:]), device=made.device)
        weight = _fading(made.shape[2], fade)[:, None] * _fading(made.shape[3], fade)
        weight = weight.to(made.device)
        top, left = round(y * factor), round(x * factor)
        place = (..., slice(top, top + made.shape[2]), slice(left, left + made.shape[3]))
        total[place] += made * weight
        weights[place] += weight
    return total / weights


def _done(work: Work, tile: Tensor) -> Generator[None, None, Tensor]:
    made = work(tile)
    return made if isinstance(made, Tensor) else (yield from made)


def _fading(side: int, fade: int) -> Tensor:
    """The weights along a side; a side no longer than ``fade`` does not fade."""
    weights = torch.ones(side)
    if fade < side:
        ramp = (torch.arange(fade, dtype=torch.float64) + 1).div(max(fade, 1)).float()
        weights[:fade] *= ramp
        weights[side - fade :] *= ramp.flip(0)
    return weights


def averaged(work: Work, whole: Tensor, passes: tuple[Tiles, ...], factor: float) -> Generator[None, None, Tensor]:
    """Return the mean of several passes of ``tiled``."""
    total: Tensor | None = None
    for each in passes:
        if total is not None:
            yield
        made = yield from tiled(work, whole, each, factor)
        total = made if total is None else total + made
    assert total is not None
    return total / len(passes)
