"""How large latents, pictures and masks are, known before anything is made: the sizes, and what nodes make of them.

Knows no tensors and no file; ``picture_sizes`` has the rules for pictures and masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.errors import BadRequest
from engine.workflow import latents as nodes
from engine.workflow.node import Node

PIXELS_PER_CELL = 8
"""Pixels that one latent cell covers each way."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a batch of latents."""

    pictures: int
    height: int
    """In cells."""
    width: int
    """In cells."""

    @property
    def cells(self) -> int:
        """The cells of one picture."""
        return self.height * self.width

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a picture in pixels."""
        return self.width * PIXELS_PER_CELL, self.height * PIXELS_PER_CELL


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """The size of a batch of pictures or masks."""

    pictures: int
    height: int
    """In pixels."""
    width: int
    """In pixels."""
    alpha: bool = False
    """Whether the pictures have a fourth channel."""

    @property
    def cells(self) -> float:
        """The latent cells that cover one picture."""
        return self.height * self.width / PIXELS_PER_CELL**2

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a picture in pixels."""
        return self.width, self.height


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the files that a workflow names. Hashable."""

    pictures: tuple[tuple[str, PictureSize], ...] = ()
    """The names of the pictures that were handed in, and their sizes; ``alpha`` says whether one has transparency."""
    factors: tuple[tuple[str, int], ...] = ()
    """The names of upscalers, and by what each enlarges."""


NOTHING_KNOWN = Known()
"""What is known of the files of a workflow that names none."""


AnySize: TypeAlias = Size | PictureSize

Sizes: TypeAlias = Mapping[Node, Any]
"""The size of each node that makes latents, pictures or masks: a ``Size`` of latents, else a ``PictureSize``."""

Rule: TypeAlias = Callable[[Any, Sizes], AnySize]
"""Gives a node's size from those of its sources. Raises ``BadRequest``, with a field of the node, for one that cannot
be."""


def scaled(side: int, factor: float) -> int:
    """Return a side, in cells or pixels, after it is scaled by ``factor``."""
    return max(1, round(side * factor))


def resized(node: nodes.ResizeLatents, size: Size) -> tuple[int, int]:
    """Return height and width in cells after ``node``: at least 8 each; 0 for one side keeps the aspect ratio."""
    width, height = node.width, node.height
    if width == height == 0:
        return size.height, size.width
    if width == 0:
        height = max(64, height)
        width = max(64, round(size.width * height / size.height))
    elif height == 0:
        width = max(64, width)
        height = max(64, round(size.height * width / size.width))
    else:
        width, height = max(64, width), max(64, height)
    return height // PIXELS_PER_CELL, width // PIXELS_PER_CELL


def corner(node: nodes.CropLatents, size: Size) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a crop, in cells: the corner moves in where fewer than 8 cells would
    stay."""
    top, left = node.y // PIXELS_PER_CELL, node.x // PIXELS_PER_CELL
    top, left = min(top, max(0, size.height - 8)), min(left, max(0, size.width - 8))
    bottom = min(size.height, top + node.height // PIXELS_PER_CELL)
    right = min(size.width, left + node.width // PIXELS_PER_CELL)
    return top, left, bottom, right


def size_of_source(node: Any, sizes: Sizes) -> AnySize:
    """Return the size of a node that leaves the size of its first source as it is."""
    size: AnySize = next(sizes[source] for source in node.sources() if source in sizes)
    return size


def _empty(node: nodes.EmptyLatents, _: Sizes) -> Size:
    return Size(pictures=node.batch_size, height=node.height // PIXELS_PER_CELL, width=node.width // PIXELS_PER_CELL)


def _repeated(node: nodes.RepeatLatents, sizes: Sizes) -> Size:
    size = sizes[node.latents]
    return Size(pictures=size.pictures * node.amount, height=size.height, width=size.width)


def _some(node: nodes.LatentsFromBatch, sizes: Sizes) -> Size:
    size = sizes[node.latents]
    first = min(node.index, size.pictures - 1)
    return Size(pictures=min(node.length, size.pictures - first), height=size.height, width=size.width)


def _joined(node: nodes.JoinLatents, sizes: Sizes) -> Size:
    first, second = sizes[node.first], sizes[node.second]
    return Size(pictures=first.pictures + second.pictures, height=first.height, width=first.width)


def _resized(node: nodes.ResizeLatents, sizes: Sizes) -> Size:
    size = sizes[node.latents]
    height, width = resized(node, size)
    return Size(pictures=size.pictures, height=height, width=width)


def _scaled(node: nodes.ScaleLatents, sizes: Sizes) -> Size:
    size = sizes[node.latents]
    most = nodes.MAX_SIDE // PIXELS_PER_CELL
    height, width = scaled(size.height, node.factor), scaled(size.width, node.factor)
    if max(height, width) > most:
        raise BadRequest("factor", node.factor, f"a factor that leaves a side of at most {nodes.MAX_SIDE} pixels")
    return Size(pictures=size.pictures, height=height, width=width)


def _rotated(node: nodes.RotateLatents, sizes: Sizes) -> Size:
    size: Size = sizes[node.latents]
    if node.rotation in ("none", "180 degrees"):
        return size
    return Size(pictures=size.pictures, height=size.width, width=size.height)


def _cropped(node: nodes.CropLatents, sizes: Sizes) -> Size:
    size = sizes[node.latents]
    top, left, bottom, right = corner(node, size)
    return Size(pictures=size.pictures, height=bottom - top, width=right - left)


LATENTS: Mapping[type[Node], Rule] = {
    nodes.EmptyLatents: _empty,
    nodes.RepeatLatents: _repeated,
    nodes.LatentsFromBatch: _some,
    nodes.JoinLatents: _joined,
    nodes.ResizeLatents: _resized,
    nodes.ScaleLatents: _scaled,
    nodes.RotateLatents: _rotated,
    nodes.CropLatents: _cropped,
}
"""How the nodes that change the size of a batch of latents do so."""
