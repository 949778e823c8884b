"""How large the pictures are that preprocessors make. Knows no tensors and no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.workflow import preprocessing as nodes
from engine.workflow.node import Node
from engine.workflow.sizes import PictureSize, Rule, Sizes

_UNIT = 64
"""Pixels that sides of tiles are multiples of."""


def hint_sides(node: Any, size: PictureSize) -> tuple[int, int]:
    """Return height and width in pixels of what ``node`` makes of pictures of ``size``."""
    if isinstance(node, nodes.Tile):
        unit = max(_UNIT, 1 << node.halvings)
        return max(1, round(size.height / unit)) * unit, max(1, round(size.width / unit)) * unit
    factor = node.resolution / min(size.height, size.width)
    return round(size.height * factor), round(size.width * factor)


def _sized(node: Any, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    height, width = hint_sides(node, size)
    return replace(size, height=height, width=width, alpha=False)


def _alike(node: nodes.Edges | nodes.Hollowed, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    return replace(size, alpha=False)


HINTS: Mapping[type[Node], Rule] = {
    nodes.Edges: _alike,
    nodes.Hollowed: _alike,
    nodes.SharpEdges: _sized,
    nodes.Scribble: _sized,
    nodes.ScribbleOfDifferences: _sized,
    nodes.Binary: _sized,
    nodes.LineArt: _sized,
    nodes.ColourBlocks: _sized,
    nodes.Lightness: _sized,
    nodes.Tile: _sized,
}
"""How large what each preprocessor makes is."""
