"""Blurred, sharpened and resampled pictures: numbers only, on whatever device they are.

Everything here is float32 (B, C, h, w). Knows no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

GREY = (0.299, 0.587, 0.114)
"""How much red, green and blue count for the grey of a pixel (ITU-R BT.601)."""

_TINY = 1e-6
"""The least sigma: a blur by 0 changes nothing."""


def gaussian(pictures: Tensor, sigma: float) -> Tensor:
    """Return ``pictures`` blurred by a Gaussian of ``sigma`` pixels, cut at four of them; mirrored at the border."""
    sigma = max(sigma, _TINY)
    radius = int(round(8 * sigma + 1) / 2)
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp(-(places**2) / (2 * sigma**2))
    return _both_ways(pictures, (bell / bell.sum()).tolist())


def _both_ways(pictures: Tensor, weights: Sequence[float]) -> Tensor:
    """``pictures``, each pixel the weighted sum of its row's and then of its column's neighbours, mirrored."""
    radius = len(weights) // 2
    rows = along_width(mirrored(pictures, radius), weights)
    return along_width(mirrored(rows.mT, radius), weights).mT


def along_width(pictures: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the sum of ``pictures`` moved left by 0, 1, … columns, each times its weight: (B, C, h, w) becomes
    narrower by ``len(weights)`` − 1.

    On a CPU that is two to ten times as fast as a convolution of one channel.
    """
    width = pictures.shape[3] - len(weights) + 1
    total = pictures[..., :width] * weights[0]
    for place, weight in enumerate(weights[1:], start=1):
        total.add_(pictures[..., place : place + width], alpha=weight)
    return total


def mirrored(pictures: Tensor, radius: int) -> Tensor:
    """Return ``pictures`` with ``radius`` more columns at each side, mirrored at the outermost ones as often as it
    takes."""
    width = pictures.shape[3]
    if radius < width:
        return pad(pictures, (radius, radius, 0, 0), mode="reflect")
    period = max(1, 2 * (width - 1))
    places = torch.arange(-radius, width + radius, device=pictures.device) % period
    return pictures[..., torch.minimum(places, period - places)]


def by_area(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return smaller ``pictures``, each pixel the mean of the area that it covers, parts of pixels by their share."""
    return _shorter(_shorter(pictures, height).mT, width).mT


def _shorter(pictures: Tensor, height: int) -> Tensor:
    old = pictures.shape[2]
    if height == old:
        return pictures
    edges = torch.arange(height + 1, dtype=torch.float64) * old / height
    start, end, total = edges[:-1], edges[1:], pictures.new_zeros(())
    first = start.floor().long()
    for place in range(math.ceil(old / height) + 1):  # rows that one may cover
        row = first + place
        share = (torch.minimum(end, row + 1) - torch.maximum(start, row)).clamp(min=0) * height / old
        covered = pictures.index_select(2, row.clamp(max=old - 1).to(pictures.device))
        total = total + covered.mul_(share.to(pictures)[:, None])
    return total


def doubled(pictures: Tensor) -> Tensor:
    """Return ``pictures`` of twice the size, as one level of a Gaussian pyramid is expanded (Burt and Adelson 1983)."""
    return _doubled_width(_doubled_width(pictures).mT).mT


def _doubled_width(pictures: Tensor) -> Tensor:
    """Even columns weigh three neighbours by 1, 6 and 1, odd ones two equally."""
    left, right = pictures[..., 1:2] if pictures.shape[3] > 1 else pictures, pictures[..., -1:]
    wide = torch.cat([left, pictures, right], dim=3)
    even = (wide[..., :-2] + 6 * wide[..., 1:-1] + wide[..., 2:]) / 8
    odd = (wide[..., 1:-1] + wide[..., 2:]) / 2
    return torch.stack([even, odd], dim=4).flatten(3)


def blurred(pictures: Tensor, radius: int, sigma: float) -> Tensor:
    """Return ``pictures`` blurred by ``bell`` along both sides, mirrored at the border."""
    return _both_ways(pictures, bell(radius, sigma).tolist())


def sharpened(pictures: Tensor, radius: int, sigma: float, amount: float) -> Tensor:
    """Return ``pictures`` with 10 · ``amount`` times their difference from what is blurred by ``bell`` added, 0 … 1."""
    return (pictures + 10 * amount * (pictures - blurred(pictures, radius, sigma))).clamp(0, 1)


def bell(radius: int, sigma: float) -> Tensor:
    """Return a Gaussian of 2 · ``radius`` + 1 pixels whose sum is 1; ``sigma`` is in units of ``radius``, as in
    ComfyUI."""
    places = torch.linspace(-1, 1, 2 * radius + 1, dtype=torch.float64)
    values = torch.exp(-(places**2) / (2 * sigma**2))
    return values / values.sum()


def resampled(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return ``pictures`` of bytes (0 … 255) in another size, again of bytes: by area where they become smaller, else
    bicubic."""
    if height > pictures.shape[2] or width > pictures.shape[3]:
        scaled = interpolate(pictures, size=(height, width), mode="bicubic")
    else:
        scaled = by_area(pictures, height, width)
    return scaled.round().clamp(0, 255)
