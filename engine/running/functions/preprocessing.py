"""Carries out the nodes that make of pictures what networks are steered by, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from engine.pictures import masks
from engine.pictures import preprocessing as made
from engine.pictures.edges import canny, canny_of_bytes
from engine.pictures.filters import resampled
from engine.pictures.scaling import repeated_to
from engine.running.functions.registry import Bench, Course, Pause, PictureBatch, carries_out, in_slices
from engine.workflow import preprocessing as nodes
from engine.workflow.hint_sizes import hint_sides
from engine.workflow.sizes import PictureSize

_COLOURS = 3
_WHITE = 255


@carries_out(nodes.Edges)
def edges(node: nodes.Edges, bench: Bench) -> Course:
    found: list[Tensor] = []
    for one in bench[node.pictures].pixels[..., :_COLOURS].split(1):
        found.append((yield from _last(canny(one.movedim(-1, 1), node.low_threshold, node.high_threshold))))
    return _batch(found)


@carries_out(nodes.SharpEdges)
def sharp_edges(node: nodes.SharpEdges, bench: Bench) -> Course:
    found: list[Tensor] = []
    for one in bench[node.pictures].pixels.split(1):
        bytes_ = _resampled(node, one)
        yield Pause()
        edges = canny_of_bytes(bytes_, node.low_threshold, node.high_threshold)
        found.append((yield from _last(edges)))
    return _batch(found)


_RULES: dict[type[Any], Callable[[Any, Tensor], Tensor | Generator[None, None, Tensor]]] = {
    nodes.Scribble: lambda _, bytes_: made.scribble(bytes_),
    nodes.ScribbleOfDifferences: lambda node, bytes_: made.scribble_of_differences(bytes_, node.threshold),
    nodes.Binary: lambda node, bytes_: made.binary(bytes_, node.threshold),
    nodes.LineArt: lambda node, bytes_: made.lines(bytes_, node.sigma, node.threshold),
    nodes.ColourBlocks: lambda _, bytes_: made.colours(bytes_),
    nodes.Lightness: lambda node, bytes_: made.LIGHTNESS[node.measure](bytes_, node.gamma),
}
"""What becomes of a picture of bytes in its size."""


def preprocess(node: Any, bench: Bench) -> Course:
    """What a rule makes of each picture in the size of the node."""
    found: list[Tensor] = []
    for one in bench[node.pictures].pixels.split(1):
        bytes_ = _resampled(node, one)
        yield Pause()
        made = _RULES[type(node)](node, bytes_)
        found.append(((yield from in_slices(made)) if isinstance(made, Generator) else made) / _WHITE)
        yield Pause()
    return _batch(found)


for _kind in _RULES:
    carries_out(_kind)(preprocess)


@carries_out(nodes.Tile)
def tile(node: nodes.Tile, bench: Bench) -> Course:
    found: list[Tensor] = []
    for one in bench[node.pictures].pixels.split(1):
        found.append(made.tile(_bytes(one), *hint_sides(node, _size(one)), node.halvings) / _WHITE)
        yield Pause()
    return _batch(found)


@carries_out(nodes.Hollowed)
def hollow(node: nodes.Hollowed, bench: Bench) -> PictureBatch:
    pixels: Tensor = bench[node.pictures].pixels[..., :_COLOURS]
    mask = masks.scaled_to(bench[node.mask], *pixels.shape[1:3])
    hole = repeated_to(mask, pixels.shape[0])[..., None] > 0.5
    return PictureBatch(torch.where(hole, 0.0 if node.black else -1.0, pixels))


def _last(slices: Iterator[Tensor]) -> Course:
    """The last of what ``slices`` gives; between them others use the device."""
    latest = next(slices)
    for each in slices:
        yield Pause()
        latest = each
    return latest


def _batch(found: list[Tensor]) -> PictureBatch:
    """The pictures (1, 1 or 3, h, w), 0 … 1, as a batch."""
    return PictureBatch(torch.cat(found).movedim(1, -1).expand(-1, -1, -1, _COLOURS))


def _resampled(node: Any, one: Tensor) -> Tensor:
    return resampled(_bytes(one), *hint_sides(node, _size(one)))


def _bytes(one: Tensor) -> Tensor:
    """A picture (1, h, w, 3 or 4), 0 … 1, as bytes (1, 3, h, w) in float32; on white where it is transparent."""
    whole = (one.movedim(-1, 1) * _WHITE).clamp(0, _WHITE).floor()
    if whole.shape[1] == _COLOURS:
        return whole
    alpha = whole[:, _COLOURS:] / _WHITE
    return (whole[:, :_COLOURS] * alpha + _WHITE * (1 - alpha)).floor()


def _size(one: Tensor) -> PictureSize:
    return PictureSize(pictures=1, height=one.shape[1], width=one.shape[2])
