"""HyperTile (tfernd 2023, github.com/tfernd/HyperTile): self-attention within parts of the picture, for speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.networks.patches import Attend, Attention, DrawnPatch, Patch

_LEAST_TILE = 4
"""Cells: the least side of a tile."""


class Grid(NamedTuple):
    """How the tokens of a layer are cut into tiles."""

    height: int
    width: int
    rows: int
    """Tiles one below the other; they divide the height."""
    columns: int
    """Tiles side by side; they divide the width."""


@dataclass(frozen=True, kw_only=True)
class Tiles(Patch):
    """In each layer the queries of a tile attend to a strip of as many tokens.

    As in ComfyUI, whose keys and values stay in the order of the picture while its queries are cut into tiles: the i-th
    tile attends to the i-th strip.
    """

    grids: tuple[Grid | None, ...]
    """Of each layer; None: it attends to all."""

    def attend(
        self, attention: Attention, inner: Attend, normed: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        grid = self.grids[attention.layer]
        if grid is None:
            return inner(normed, query, key, value)
        tiles, strips = (_cut(each, grid) for each in (normed, query)), (_strips(each, grid) for each in (key, value))
        return _whole(inner(*tiles, *strips), grid)


@dataclass(frozen=True, kw_only=True)
class HyperTile(DrawnPatch):
    """Tiles whose number is drawn for each layer: as many as leave sides of at least ``tile`` cells, or fewer."""

    tile: int
    """The least side of a tile, in cells."""
    swaps: int
    """Among how many of the smallest sizes of tiles is drawn."""
    depth: int
    """The lowest level that is tiled; 0 is that of x."""
    scaled: bool
    """Whether tiles are the larger, the lower the level."""

    def choose(self, tokens: int, height: int, width: int, generator: torch.Generator) -> tuple[Any, int]:
        level = next((level for level in range(self.depth + 1) if tokens * 4**level == height * width), None)
        if level is None:
            return None, tokens
        least = max(_LEAST_TILE, self.tile) * (2**level if self.scaled else 1)
        aspect = width / height
        # ComfyUI takes one side for the other, so that the tiles of pictures that are not square are no rectangles
        sides = round(math.sqrt(tokens * aspect)), round(math.sqrt(tokens / aspect))
        grid = Grid(*sides, *(_tiles(side, least, self.swaps, generator) for side in sides))
        count = grid.rows * grid.columns
        return (None, tokens) if count == 1 else (grid, tokens // count)

    def chosen(self, choices: Sequence[Any], height: int, width: int) -> tuple[Patch, tuple[Tensor, ...]]:
        return Tiles(grids=tuple(choices)), ()


def _tiles(side: int, least: int, swaps: int, generator: torch.Generator) -> int:
    """Into how many tiles a side is cut: drawn among the ``swaps`` smallest tiles of at least ``least`` cells that
    divide it.

    As in ComfyUI the last of them is never drawn, but the number is drawn where there are two.
    """
    divisors = (size for size in range(min(least, side), side + 1) if side % size == 0)
    counts = [side // size for size in islice(divisors, swaps)]
    place = int(torch.randint(0, len(counts) - 1, (1,), generator=generator)) if len(counts) > 1 else 0
    return counts[place]


def _cut(x: Tensor, grid: Grid) -> Tensor:
    """Tokens (R, h·w, C) → those of each tile, (R·rows·columns, n, C)."""
    height, width = grid.height // grid.rows, grid.width // grid.columns
    tiles = x.unflatten(1, (grid.rows, height, grid.columns, width)).transpose(2, 3)
    tokens: Tensor = tiles.flatten(0, 2).flatten(1, 2)
    return tokens


def _strips(x: Tensor, grid: Grid) -> Tensor:
    """Tokens (R, h·w, C) in as many parts as there are tiles, each of consecutive tokens."""
    strips: Tensor = x.unflatten(1, (grid.rows * grid.columns, -1)).flatten(0, 1)
    return strips


def _whole(tiles: Tensor, grid: Grid) -> Tensor:
    """What ``_cut`` has cut, put together."""
    height, width = grid.height // grid.rows, grid.width // grid.columns
    x = tiles.unflatten(0, (-1, grid.rows, grid.columns)).unflatten(3, (height, width))
    tokens: Tensor = x.transpose(2, 3).flatten(1, 4)
    return tokens
