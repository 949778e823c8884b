"""Carries out the nodes that make latents of latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from engine.pictures import latents as operations
from engine.pictures.scaling import like, repeated_to
from engine.pictures.scaling import resized as rescaled
from engine.running.functions.registry import Bench, LatentBatch, carries_out
from engine.workflow import latents as nodes
from engine.workflow.sizes import PIXELS_PER_CELL, Size, corner, resized, scaled


@carries_out(nodes.EmptyLatents)
def empty(node: nodes.EmptyLatents, bench: Bench) -> LatentBatch:
    shape = (node.batch_size, 4, node.height // PIXELS_PER_CELL, node.width // PIXELS_PER_CELL)
    return LatentBatch(torch.zeros(shape, device=bench.device))


@carries_out(nodes.RepeatLatents)
def repeat(node: nodes.RepeatLatents, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    indices = batch.indices
    if indices is not None:
        span = max(indices) - min(indices) + 1
        indices = tuple(index + turn * span for turn in range(node.amount) for index in indices)
    mask = batch.noise_mask
    if mask is not None and mask.shape[0] > 1:
        mask = repeated_to(mask, batch.samples.shape[0]).repeat(node.amount, 1, 1)
    samples = batch.samples.repeat(node.amount, 1, 1, 1)
    return LatentBatch(samples, indices, noise_mask=mask, seen=batch.seen)


@carries_out(nodes.LatentsFromBatch)
def from_batch(node: nodes.LatentsFromBatch, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    first = min(node.index, batch.samples.shape[0] - 1)
    part = slice(first, min(first + node.length, batch.samples.shape[0]))
    mask = batch.noise_mask
    if mask is not None and mask.shape[0] > 1:
        mask = repeated_to(mask, batch.samples.shape[0])[part]
    return LatentBatch(batch.samples[part], _indices(batch)[part], noise_mask=mask, seen=batch.seen)


@carries_out(nodes.JoinLatents)
def join(node: nodes.JoinLatents, bench: Bench) -> LatentBatch:
    first, second = bench[node.first], bench[node.second]
    samples = torch.cat([first.samples, like(second.samples, first.samples)])
    indices = _indices(first) + _indices(second)
    return LatentBatch(samples, indices, noise_mask=first.noise_mask, seen=first.seen)


@carries_out(nodes.ResizeLatents)
def resize(node: nodes.ResizeLatents, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    height, width = resized(node, _size(batch.samples))
    crop = node.crop == "center"
    return _changed(batch, lambda samples: rescaled(samples, height, width, node.method, crop=crop))


@carries_out(nodes.ScaleLatents)
def scale(node: nodes.ScaleLatents, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    height, width = (scaled(cells, node.factor) for cells in batch.samples.shape[2:])
    return _changed(batch, lambda samples: rescaled(samples, height, width, node.method))


@carries_out(nodes.FlipLatents)
def flip(node: nodes.FlipLatents, bench: Bench) -> LatentBatch:
    axis = 2 if node.axis.startswith("x") else 3
    return _changed(bench[node.latents], lambda samples: samples.flip(axis))


@carries_out(nodes.RotateLatents)
def rotate(node: nodes.RotateLatents, bench: Bench) -> LatentBatch:
    turns = ("none", "90 degrees", "180 degrees", "270 degrees").index(node.rotation)
    return _changed(bench[node.latents], lambda samples: samples.rot90(turns, dims=(3, 2)))


@carries_out(nodes.CropLatents)
def crop(node: nodes.CropLatents, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    top, left, bottom, right = corner(node, _size(batch.samples))
    return _changed(batch, lambda samples: samples[:, :, top:bottom, left:right])


@carries_out(nodes.CompositeLatents)
def composite(node: nodes.CompositeLatents, bench: Bench) -> LatentBatch:
    x, y, feather = (pixels // PIXELS_PER_CELL for pixels in (node.x, node.y, node.feather))
    above: LatentBatch = bench[node.above]
    return _changed(bench[node.below], lambda below: operations.composite(below, above.samples, x, y, feather))


@carries_out(nodes.BlendLatents)
def blend(node: nodes.BlendLatents, bench: Bench) -> LatentBatch:
    def mixed(first: Tensor, second: Tensor) -> Tensor:
        return first * node.factor + second * (1 - node.factor)

    return _of_two(bench[node.first], bench[node.second], mixed, method="bicubic")


@carries_out(nodes.AddLatents)
def add(node: nodes.AddLatents, bench: Bench) -> LatentBatch:
    return _of_two(bench[node.first], bench[node.second], torch.add)


@carries_out(nodes.SubtractLatents)
def subtract(node: nodes.SubtractLatents, bench: Bench) -> LatentBatch:
    return _of_two(bench[node.first], bench[node.second], torch.sub)


@carries_out(nodes.MultiplyLatents)
def multiply(node: nodes.MultiplyLatents, bench: Bench) -> LatentBatch:
    return _changed(bench[node.latents], lambda samples: samples * node.factor)


@carries_out(nodes.InterpolateLatents)
def interpolate(node: nodes.InterpolateLatents, bench: Bench) -> LatentBatch:
    def between(first: Tensor, second: Tensor) -> Tensor:
        return operations.interpolated(first, second, node.ratio)

    return _of_two(bench[node.first], bench[node.second], between)


def _changed(batch: LatentBatch, change: Callable[[Tensor], Tensor]) -> LatentBatch:
    return dataclasses.replace(batch, samples=change(batch.samples).contiguous(), denoised=None)


def _of_two(
    first: LatentBatch, second: LatentBatch, join: Callable[[Tensor, Tensor], Tensor], method: str = "bilinear"
) -> LatentBatch:
    """``join`` of both, the second one brought to the first one's shape."""
    other = repeated_to(like(second.samples, first.samples, method), first.samples.shape[0])
    return _changed(first, lambda samples: join(samples, other))


def _indices(batch: LatentBatch) -> tuple[int, ...]:
    return batch.indices if batch.indices is not None else tuple(range(batch.samples.shape[0]))


def _size(samples: Tensor) -> Size:
    pictures, _, height, width = samples.shape
    return Size(pictures=pictures, height=height, width=width)
