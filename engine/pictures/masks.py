"""Masks → masks: grown, feathered, put together. Masks are float32 (B, h, w), 0 … 1. Knows no nodes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad


def grown(mask: Tensor, pixels: int, *, tapered: bool) -> Tensor:
    """Return ``mask`` with its bright parts grown by ``pixels``, or shrunk where that is below 0.

    Each value becomes the largest within a square of 2 · pixels + 1, or, ``tapered``, within a rhombus of that width.
    """
    if pixels < 0:
        return -grown(-mask, -pixels, tapered=tapered)
    return _grown_by_rhombus(mask, pixels) if tapered else _grown_by_square(mask, pixels)


def _grown_by_square(mask: Tensor, pixels: int) -> Tensor:
    rows, columns = (min(pixels, side - 1) for side in mask.shape[1:])
    wide = _lowest_around(mask, columns, rows)
    return _highest(_highest(wide, 2 * columns + 1).mT, 2 * rows + 1).mT


def _highest(wide: Tensor, window: int) -> Tensor:
    """The largest of each ``window`` neighbours in a row, (B, h, w) becoming narrower by ``window`` − 1."""
    covered = 1
    while covered < window:
        step = min(covered, window - covered)
        wide = torch.maximum(wide[..., :-step], wide[..., step:])
        covered += step
    return wide


def _lowest_around(mask: Tensor, columns: int, rows: int) -> Tensor:
    return pad(mask, (columns, columns, rows, rows), value=float("-inf"))


def _grown_by_rhombus(mask: Tensor, pixels: int) -> Tensor:
    """A rhombus is the union of itself with smaller ones around its corners: each step grows by half as much again."""
    pixels = min(pixels, mask.shape[1] + mask.shape[2])
    radius = 0
    while radius < pixels:
        step = min(radius // 2 + 1, pixels - radius)
        wide = _lowest_around(mask, step, step)
        height, width = mask.shape[1:]
        for y, x in ((0, step), (2 * step, step), (step, 0), (step, 2 * step)):
            mask = torch.maximum(mask, wide[:, y : y + height, x : x + width])
        radius += step
    return mask


def grown_for_inpainting(mask: Tensor, pixels: int) -> Tensor:
    """Return ``mask``, of zeros and ones, grown by a square of ``pixels``, which reaches further at the right and below
    where that is even; 0 and 1 change nothing."""
    if pixels <= 1:
        return mask
    before = pixels // 2
    height, width = mask.shape[1:]
    wide = pad(mask, (before, before, before, before))
    return _highest(_highest(wide, pixels).mT, pixels).mT[:, :height, :width]


def feathered(mask: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """Return ``mask``, fading over the given number of pixels at each side.

    As in ComfyUI, the outermost weight of the right and of the lower side falls on the first column and row.
    """
    height, width = mask.shape[1:]
    for before, after, side, dim in ((left, right, width, 2), (top, bottom, height, 1)):
        shape = [1, 1, 1]
        shape[dim] = side
        mask = mask * _rising(before, side).reshape(shape).to(mask) * _falling(after, side).reshape(shape).to(mask)
    return mask


def _rising(pixels: int, side: int) -> Tensor:
    weights = torch.ones(side)
    pixels = min(pixels, side)
    weights[:pixels] = (torch.arange(pixels, dtype=torch.float64) + 1).div(pixels).float()
    return weights


def _falling(pixels: int, side: int) -> Tensor:
    weights = torch.ones(side)
    pixels = min(pixels, side)
    places = -torch.arange(pixels) % side
    weights[places] = (torch.arange(pixels, dtype=torch.float64) + 1).div(pixels).float()
    return weights


def combined(below: Tensor, above: Tensor, x: int, y: int, operation: str) -> Tensor:
    """Return ``below`` with ``above`` laid onto it at (x, y), clamped to 0 … 1.

    ``operation``: ``multiply``, ``add``, ``subtract``, or ``and``, ``or``, ``xor`` of the rounded values.
    """
    part = above[:, : max(0, below.shape[1] - y), : max(0, below.shape[2] - x)]
    height, width = part.shape[1:]
    result = below.clone()
    place = result[:, y : y + height, x : x + width]
    if operation == "multiply":
        place.mul_(part)
    elif operation == "add":
        place.add_(part)
    elif operation == "subtract":
        place.sub_(part)
    else:
        logic = {"and": torch.logical_and, "or": torch.logical_or, "xor": torch.logical_xor}[operation]
        place.copy_(logic(place.round().bool(), part.round().bool()))
    return result.clamp(0, 1)


def padding(height: int, width: int, left: int, top: int, right: int, bottom: int, feathering: int) -> Tensor:
    """Return the mask of a picture of ``height`` × ``width`` that is padded: (1, …), 1 outside.

    Inside it falls, over ``feathering`` pixels from each padded side, as the square of the distance; not at all where
    the picture is not more than twice as large. The distance begins at 0 at the left and above, at 1 at the other two.
    """
    mask = torch.ones(1, height + top + bottom, width + left + right)
    inside = torch.zeros(height, width)
    if 0 < 2 * feathering < min(height, width):
        rows, columns = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
        far = float(feathering)
        distances = [torch.full((1, 1), far, dtype=torch.float64)]
        distances += [rows[:, None]] if top else []
        distances += [(height - rows)[:, None]] if bottom else []
        distances += [columns[None]] if left else []
        distances += [(width - columns)[None]] if right else []
        distance = torch.stack(torch.broadcast_tensors(*distances)).amin(0)  # at most far
        inside = ((far - distance) / far).square().float().expand(height, width)
    mask[0, top : top + height, left : left + width] = inside
    return mask


def scaled_to(mask: Tensor, height: int, width: int) -> Tensor:
    """Return ``mask`` as (B, height, width), bilinear without antialiasing."""
    return interpolate(mask[:, None], size=(height, width), mode="bilinear")[:, 0]
