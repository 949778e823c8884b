"""Carries out the nodes that make pictures of pictures, picture by picture where that takes long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.device.transfer import Errand, Fetch
from engine.pictures import filters, masks, scaling
from engine.pictures.compositing import blended, composite_masked
from engine.running.functions.registry import Bench, Course, Pause, PictureBatch, Until, carries_out
from engine.workflow import editing as nodes
from engine.workflow.picture_sizes import part_of, sides_of
from engine.workflow.sizes import PictureSize


@carries_out(nodes.EmptyPictures)
def empty(node: nodes.EmptyPictures, bench: Bench) -> PictureBatch:
    colour = torch.tensor([node.colour >> 16, node.colour >> 8 & 255, node.colour & 255], device=bench.device) / 255
    return PictureBatch(colour.expand(node.batch_size, node.height, node.width, 3))


def rescale(node: Any, bench: Bench) -> Course:
    """The pictures in another size."""
    pixels: Tensor = bench[node.pictures].pixels
    height, width = sides_of(node, _size(pixels))
    crop = isinstance(node, nodes.ResizePictures) and node.crop == "center"
    if isinstance(node, nodes.ResizePictures) and node.width == node.height == 0:
        return PictureBatch(pixels)
    made: list[Tensor] = []
    for one in pixels.split(1):
        if made:
            yield Pause()
        given = one.movedim(-1, 1)
        if node.method == "lanczos":
            given = scaling.cropped_to_aspect(given, height, width) if crop else given
            larger: Tensor = yield from _by_lanczos(given, height, width)
        else:
            larger = scaling.resized(given, height, width, node.method, crop=crop)
        made.append(larger.movedim(1, -1))
    return PictureBatch(torch.cat(made))


def _by_lanczos(pictures: Tensor, height: int, width: int) -> Course:
    """``scaling.lanczos``, which takes long and does not need the device: others use it meanwhile."""
    given = Fetch(scaling.to_bytes(pictures))
    yield Until([given])
    errand = Errand(functools.partial(scaling.lanczos_of_bytes, given.value().numpy(), height, width))
    yield Until([errand])
    return scaling.from_bytes(errand.value(), pictures.device)


for _kind in (nodes.ResizePictures, nodes.ScalePictures, nodes.ScaleToMegapixels):
    carries_out(_kind)(rescale)


@carries_out(nodes.InvertPictures)
def invert(node: nodes.InvertPictures, bench: Bench) -> PictureBatch:
    return PictureBatch(1 - bench[node.pictures].pixels)


@carries_out(nodes.BlurPictures)
def blur(node: nodes.BlurPictures, bench: Bench) -> Course:
    return (yield from _one_by_one(bench[node.pictures], lambda one: filters.blurred(one, node.radius, node.sigma)))


@carries_out(nodes.SharpenPictures)
def sharpen(node: nodes.SharpenPictures, bench: Bench) -> Course:
    def sharpened(one: Tensor) -> Tensor:
        return filters.sharpened(one, node.radius, node.sigma, node.amount)

    return (yield from _one_by_one(bench[node.pictures], sharpened))


def _one_by_one(pictures: PictureBatch, change: Callable[[Tensor], Tensor]) -> Course:
    """``change`` of each colour of each picture, (1, 1, h, w)."""
    made: list[Tensor] = []
    for one in pictures.pixels.split(1):
        made.append((yield from _by_colours(change, one.movedim(-1, 1))).movedim(1, -1))
    return PictureBatch(torch.cat(made))


def _by_colours(change: Callable[..., Tensor], *pictures: Tensor) -> Course:
    """What ``change`` makes of each colour in turn; ``pictures`` are (B, C, h, w)."""
    made: list[Tensor] = []
    for colours in zip(*(each.split(1, dim=1) for each in pictures), strict=True):
        made.append(change(*colours))
        yield Pause()
    return torch.cat(made, dim=1)


@carries_out(nodes.BlendPictures)
def blend(node: nodes.BlendPictures, bench: Bench) -> Course:
    first, second = (bench[each].pixels.movedim(-1, 1) for each in (node.first, node.second))
    channels = max(first.shape[1], second.shape[1])
    first, second = (_with_channels(each, channels) for each in (first, second))
    second = scaling.repeated_to(scaling.like(second, first, "bicubic"), first.shape[0])

    def mixed(one: Tensor, other: Tensor) -> Tensor:
        return blended(one, other, node.factor, node.mode)

    made: list[Tensor] = []
    for pair in zip(first.split(1), second.split(1), strict=True):
        made.append((yield from _by_colours(mixed, *pair)))
    return PictureBatch(torch.cat(made).movedim(1, -1))


@carries_out(nodes.CropPictures)
def crop(node: nodes.CropPictures, bench: Bench) -> PictureBatch:
    pixels: Tensor = bench[node.pictures].pixels
    top, left, bottom, right = part_of(node, _size(pixels))
    return PictureBatch(pixels[:, top:bottom, left:right])


@carries_out(nodes.ExtendPictures)
def extend(node: nodes.ExtendPictures, bench: Bench) -> PictureBatch:
    pixels: Tensor = bench[node.pictures].pixels.movedim(-1, 1)
    return PictureBatch(scaling.extended(pixels, node.height, node.width).movedim(1, -1))


@carries_out(nodes.PadPictures)
def pad(node: nodes.PadPictures, bench: Bench) -> PictureBatch:
    pixels: Tensor = bench[node.pictures].pixels
    sides = (0, 0, node.left, node.right, node.top, node.bottom)
    return PictureBatch(torch.nn.functional.pad(pixels, sides, value=0.5))


@carries_out(nodes.JoinPictures)
def join(node: nodes.JoinPictures, bench: Bench) -> PictureBatch:
    first, second = (bench[each].pixels.movedim(-1, 1) for each in (node.first, node.second))
    channels = max(first.shape[1], second.shape[1])
    first, second = (_with_channels(each, channels) for each in (first, second))
    return PictureBatch(torch.cat([first, scaling.like(second, first)]).movedim(1, -1))


@carries_out(nodes.RepeatPictures)
def repeat(node: nodes.RepeatPictures, bench: Bench) -> PictureBatch:
    return PictureBatch(bench[node.pictures].pixels.repeat(node.amount, 1, 1, 1))


@carries_out(nodes.PicturesFromBatch)
def from_batch(node: nodes.PicturesFromBatch, bench: Bench) -> PictureBatch:
    pixels: Tensor = bench[node.pictures].pixels
    first = min(node.index, pixels.shape[0] - 1)
    return PictureBatch(pixels[first : first + node.length])


@carries_out(nodes.CompositePictures)
def composite(node: nodes.CompositePictures, bench: Bench) -> PictureBatch:
    below, above = (bench[each].pixels.movedim(-1, 1) for each in (node.below, node.above))
    above = _with_channels(above, below.shape[1])[:, : below.shape[1]]
    mask = None if node.mask is None else bench[node.mask]
    made = composite_masked(below, above, node.x, node.y, mask, resize=node.resize)
    return PictureBatch(made.movedim(1, -1))


@carries_out(nodes.WithTransparency)
def with_transparency(node: nodes.WithTransparency, bench: Bench) -> PictureBatch:
    pixels, mask = bench[node.pictures].pixels, bench[node.mask]
    count = min(pixels.shape[0], mask.shape[0])
    alpha = 1 - masks.scaled_to(mask[:count], *pixels.shape[1:3])
    return PictureBatch(torch.cat([pixels[:count, ..., :3], alpha[..., None]], dim=-1))


@carries_out(nodes.WithoutTransparency)
def without_transparency(node: nodes.WithoutTransparency, bench: Bench) -> PictureBatch:
    return PictureBatch(bench[node.pictures].pixels[..., :3])


@carries_out(nodes.MaskPictures)
def of_mask(node: nodes.MaskPictures, bench: Bench) -> PictureBatch:
    return PictureBatch(bench[node.mask][..., None].expand(-1, -1, -1, 3))


def _size(pixels: Tensor) -> PictureSize:
    count, height, width, _ = pixels.shape
    return PictureSize(pictures=count, height=height, width=width)


def _with_channels(pictures: Tensor, channels: int) -> Tensor:
    """Return pictures (B, C, h, w) with at least ``channels`` channels: those that they lack are opaque."""
    missing = max(0, channels - pictures.shape[1])
    return torch.nn.functional.pad(pictures, (0, 0, 0, 0, 0, missing), value=1.0)
