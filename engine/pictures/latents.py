"""Latents → latents of another size, turned, cut, put together: numbers only, on whatever device they are.

Latents are float32 (B, 4, h, w). Knows no nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resized(latents: Tensor, height: int, width: int, method: str, *, crop: bool = False) -> Tensor:
    """``latents`` as (B, 4, height, width).

    ``method``: ``nearest-exact``, ``bilinear``, ``area`` or ``bicubic`` (a = −0.75), without antialiasing, or
    ``bislerp``. With ``crop`` the longer side first loses what the new aspect ratio has no room for, at both ends.
    """
    if crop:
        latents = _cropped_to_aspect(latents, height, width)
    if method == "bislerp":
        return bislerp(latents, height, width)
    return interpolate(latents, size=(height, width), mode=method)


def _cropped_to_aspect(latents: Tensor, height: int, width: int) -> Tensor:
    old_height, old_width = latents.shape[2:]
    old, new = old_width / old_height, width / height
    x = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    y = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    return latents[:, :, y : old_height - y, x : old_width - x]


def bislerp(latents: Tensor, height: int, width: int) -> Tensor:
    """Scale ``latents``: each cell's vector is turned from one neighbour's to the other's, along the width first.

    Directions are interpolated on the sphere (Shoemake 1985), lengths linearly. Parallel vectors stay the left one's;
    opposite ones are interpolated linearly.
    """
    return _slerped(_slerped(latents, width).transpose(2, 3), height).transpose(2, 3)


def _slerped(latents: Tensor, width: int) -> Tensor:
    left, right, ratio = _neighbours(latents.shape[3], width, latents.device)
    one, other = latents[..., left], latents[..., right]
    length, other_length = one.norm(dim=1, keepdim=True), other.norm(dim=1, keepdim=True)
    direction = torch.where(length == 0, 0.0, one / length)
    other_direction = torch.where(other_length == 0, 0.0, other / other_length)
    dot = (direction * other_direction).sum(1, keepdim=True)
    angle = torch.acos(dot)
    sine = torch.sin(angle)
    turned = (torch.sin((1 - ratio) * angle) * direction + torch.sin(ratio * angle) * other_direction) / sine
    result = turned * (length * (1 - ratio) + other_length * ratio)
    result = torch.where(dot > 1 - 1e-5, one, result)
    return torch.where(dot < 1e-5 - 1, one * (1 - ratio) + other * ratio, result)


def _neighbours(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The left and the right cell of each new one, and how far it lies from the left one to the right one."""
    ramp = torch.arange(old, dtype=torch.float32)
    next_ramp = (ramp + 1).clamp(max=old - 1)
    place, next_place = (
        interpolate(each[None, None, None], size=(1, new), mode="bilinear")[0, 0, 0] for each in (ramp, next_ramp)
    )
    return place.long().to(device), next_place.long().to(device), (place - place.floor()).to(device)


def repeated_to(latents: Tensor, count: int) -> Tensor:
    """``count`` latents: the first ones of ``latents``, again from the start where there are fewer."""
    if latents.shape[0] >= count:
        return latents[:count]
    return latents.repeat(-(-count // latents.shape[0]), 1, 1, 1)[:count]


def like(latents: Tensor, other: Tensor, method: str = "bilinear") -> Tensor:
    """``latents`` in the height and width of ``other``, cropped to the centre, where they differ."""
    if latents.shape[2:] == other.shape[2:]:
        return latents
    return resized(latents, other.shape[2], other.shape[3], method, crop=True)


def composite(below: Tensor, above: Tensor, x: int, y: int, feather: int) -> Tensor:
    """``above`` pasted onto ``below`` at cell (x, y); its edges fade over ``feather`` cells where ``below`` goes on."""
    above = repeated_to(above, below.shape[0])[:, :, : below.shape[2] - y, : below.shape[3] - x]
    height, width = above.shape[2:]
    if height == 0 or width == 0:
        return below
    ramp = (torch.arange(feather, dtype=torch.float32, device=below.device) + 1) / max(feather, 1)
    rows, columns = (torch.ones(side, device=below.device) for side in (height, width))
    for weights, before, after in ((rows, y, below.shape[2] - y - height), (columns, x, below.shape[3] - x - width)):
        fading = ramp[: len(weights)]
        if before:
            weights[: len(fading)] *= fading
        if after:
            weights[len(weights) - len(fading) :] *= fading.flip(0)
    weight = rows[:, None] * columns
    result = below.clone()
    part = result[:, :, y : y + height, x : x + width]
    part.copy_(above * weight + part * (1 - weight))
    return result


def interpolated(first: Tensor, second: Tensor, ratio: float) -> Tensor:
    """Between ``first`` (at ratio 1) and ``second``: the mean of their directions, with the mean of their lengths."""
    length, other_length = (each.norm(dim=1, keepdim=True) for each in (first, second))
    mean = torch.nan_to_num(first / length) * ratio + torch.nan_to_num(second / other_length) * (1 - ratio)
    between: Tensor = torch.nan_to_num(mean / mean.norm(dim=1, keepdim=True)) * (
        length * ratio + other_length * (1 - ratio)
    )
    return between
