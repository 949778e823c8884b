"""Pictures, masks and latents → the same in another size: numbers only, on whatever device they are.

Everything here is float32 (B, C, h, w). Knows no nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ANTIALIASED = "-antialiased"


def resized(values: Tensor, height: int, width: int, method: str, *, crop: bool = False) -> Tensor:
    """Return ``values`` as (B, C, height, width).

    ``method``: ``nearest-exact``, ``bilinear``, ``area`` or ``bicubic`` (a = −0.75), without antialiasing;
    ``bilinear-antialiased`` or ``bicubic-antialiased`` (a = −0.5); ``nearest``, the cell at whose left end a new one
    begins; ``bislerp`` for latents; ``lanczos`` and ``nearest-bytes`` for pictures, through 8 bits. With ``crop`` the
    longer side first loses what the new aspect ratio has no room for, at both ends.
    """
    if crop:
        values = cropped_to_aspect(values, height, width)
    if method == "bislerp":
        return bislerp(values, height, width)
    if method == "lanczos":
        return lanczos(values, height, width)
    if method == "nearest-bytes":
        return interpolate(to_bytes(values).movedim(-1, 1) / 255, size=(height, width), mode="nearest-exact")
    mode = method.removesuffix(_ANTIALIASED)
    return interpolate(values, size=(height, width), mode=mode, antialias=mode != method)


def cropped_to_aspect(values: Tensor, height: int, width: int) -> Tensor:
    """Return the middle of ``values``, in the aspect ratio of ``height`` and ``width``; at least one row and column."""
    old_height, old_width = values.shape[2:]
    old, new = old_width / old_height, width / height
    x = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    y = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    x, y = min(x, (old_width - 1) // 2), min(y, (old_height - 1) // 2)
    return values[:, :, y : old_height - y, x : old_width - x]


def lanczos(pictures: Tensor, height: int, width: int) -> Tensor:
    """Scale pictures of 0 … 1 by Lanczos' kernel over three lobes, in 8 bits (truncated) before and after."""
    scaled = lanczos_of_bytes(to_bytes(pictures).cpu().numpy(), height, width)
    return from_bytes(scaled, pictures.device)


def extended(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return pictures in the middle of a canvas, their ends repeated above and below, or else at the left and right.

    An end is what a cubic kernel (a = −0.5) finds at the border, in 8 bits: 9/8 of the outermost row less 1/8 of the
    next, as AUTOMATIC1111 fills. Where an odd number of rows is missing, the last is black.
    """
    if pictures.shape[2] == height:
        flat = pictures.transpose(2, 3)
        return flat.transpose(2, 3) if flat.shape[2] == width else extended(flat, width, height).transpose(2, 3)
    rows = pictures.shape[2]
    above = height // 2 - rows // 2
    canvas = pictures.new_zeros(*pictures.shape[:2], height, pictures.shape[3])
    canvas[:, :, above : above + rows] = pictures
    canvas[:, :, :above] = _end(pictures[:, :, :2])
    canvas[:, :, above + rows : 2 * above + rows] = _end(pictures[:, :, -2:].flip(2))
    if pictures.shape[3] == width:
        return canvas
    left = width // 2 - pictures.shape[3] // 2
    return torch.nn.functional.pad(canvas, (left, width - left - pictures.shape[3]))


def _end(rows: Tensor) -> Tensor:
    """The row at the border, of the outermost and the next one, if there is one."""
    first, second = (rows * 255).round()[:, :, [0, -1]].split(1, dim=2)
    end: Tensor = (((9 * first - second) / 8 + 0.5).floor().clamp(0, 255) if rows.shape[2] > 1 else first) / 255
    return end


def to_bytes(pictures: Tensor) -> Tensor:
    """Pictures (B, C, h, w) of 0 … 1 → uint8 (B, h, w, C), truncated."""
    return (pictures * 255).clamp(0, 255).to(torch.uint8).movedim(1, -1)


def lanczos_of_bytes(pictures: NDArray[numpy.uint8], height: int, width: int) -> NDArray[numpy.uint8]:
    """Scale pictures (B, h, w, C). Pillow does it, on the calling thread, while others run Python."""
    return _by_pillow(pictures, height, width, Image.Resampling.LANCZOS)


def bicubic_of_bytes(masks: NDArray[numpy.uint8], height: int, width: int) -> NDArray[numpy.uint8]:
    """Scale masks (B, h, w) by the cubic kernel (a = −0.5), antialiased, as ``lanczos_of_bytes`` does."""
    return _by_pillow(masks, height, width, Image.Resampling.BICUBIC)


def _by_pillow(
    pictures: NDArray[numpy.uint8], height: int, width: int, kernel: Image.Resampling
) -> NDArray[numpy.uint8]:
    scaled = [Image.fromarray(each).resize((width, height), kernel) for each in pictures]
    return numpy.stack([numpy.asarray(each) for each in scaled])


def from_bytes(pictures: NDArray[numpy.uint8], device: torch.device) -> Tensor:
    """Pictures uint8 (B, h, w, C) → (B, C, h, w) of 0 … 1."""
    return torch.from_numpy(pictures).movedim(-1, 1).to(device) / 255


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


def repeated_to(values: Tensor, count: int) -> Tensor:
    """Return ``count`` of ``values``: the first ones, again from the start where there are fewer."""
    if values.shape[0] >= count:
        return values[:count]
    return values.repeat(-(-count // values.shape[0]), *(1 for _ in values.shape[1:]))[:count]


def like(values: Tensor, other: Tensor, method: str = "bilinear") -> Tensor:
    """Return ``values`` in the height and width of ``other``, cropped to the centre, where they differ."""
    if values.shape[2:] == other.shape[2:]:
        return values
    return resized(values, other.shape[2], other.shape[3], method, crop=True)
