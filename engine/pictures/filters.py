"""Blurred, sharpened and resampled pictures: numbers only, on whatever device they are.

Everything here is float32 (B, C, h, w). Knows no nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

_TINY = 1e-6
"""The least sigma: a blur by 0 changes nothing."""


def gaussian(pictures: Tensor, sigma: float) -> Tensor:
    """Return ``pictures`` blurred by a Gaussian of ``sigma`` pixels, cut at four of them; mirrored at the border."""
    sigma = max(sigma, _TINY)
    radius = int(round(8 * sigma + 1) / 2)
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp(-(places**2) / (2 * sigma**2))
    kernel = (bell / bell.sum()).to(pictures)
    return _along_width(_along_width(pictures, kernel).mT, kernel).mT


def _along_width(pictures: Tensor, kernel: Tensor) -> Tensor:
    wide = mirrored(pictures, len(kernel) // 2)
    rows = wide.flatten(0, 2)[:, None, None]
    return conv2d(rows, kernel[None, None, None]).view(*pictures.shape)


def mirrored(pictures: Tensor, radius: int) -> Tensor:
    """Return ``pictures`` with ``radius`` more columns at each side, mirrored at the outermost ones as often as it
    takes."""
    width = pictures.shape[3]
    period = max(1, 2 * (width - 1))
    places = torch.arange(-radius, width + radius, device=pictures.device) % period
    return pictures[..., torch.minimum(places, period - places)]


def by_area(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return smaller ``pictures``, each pixel the mean of the area that it covers, parts of pixels by their share."""
    rows = _overlaps(pictures.shape[2], height).to(pictures)
    columns = _overlaps(pictures.shape[3], width).to(pictures)
    return rows @ pictures @ columns.T


def _overlaps(old: int, new: int) -> Tensor:
    """What share each of the ``new`` pixels takes of each of the ``old`` ones: (new, old), each row's sum is 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    pixels = torch.arange(old, dtype=torch.float64)
    end, start = torch.minimum(edges[1:, None], pixels + 1), torch.maximum(edges[:-1, None], pixels)
    return (end - start).clamp(min=0) * new / old


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
    """Return ``pictures`` blurred by ``bell``, mirrored at the border."""
    return _convolved(pictures, bell(radius, sigma))


def sharpened(pictures: Tensor, radius: int, sigma: float, amount: float) -> Tensor:
    """Return ``pictures`` with 10 · ``amount`` times their difference from what is blurred by ``bell`` added, 0 … 1."""
    kernel = -10 * amount * bell(radius, sigma)
    kernel[radius, radius] += 1 - kernel.sum()
    return _convolved(pictures, kernel).clamp(0, 1)


def bell(radius: int, sigma: float) -> Tensor:
    """Return a Gaussian of (2 · radius + 1)² pixels whose sum is 1; ``sigma`` is in units of ``radius``, as in
    ComfyUI."""
    places = torch.linspace(-1, 1, 2 * radius + 1)
    values = torch.exp(-(places[:, None] ** 2 + places**2) / (2 * sigma**2))
    return values / values.sum()


def _convolved(pictures: Tensor, kernel: Tensor) -> Tensor:
    radius = kernel.shape[0] // 2
    wide = mirrored(mirrored(pictures, radius).mT, radius).mT
    return conv2d(wide.flatten(0, 1)[:, None], kernel[None, None].to(pictures)).view(*pictures.shape)


def resampled(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return ``pictures`` of bytes (0 … 255) in another size, again of bytes: by area where they become smaller, else
    bicubic."""
    if height > pictures.shape[2] or width > pictures.shape[3]:
        scaled = interpolate(pictures, size=(height, width), mode="bicubic")
    else:
        scaled = by_area(pictures, height, width)
    return scaled.round().clamp(0, 255)
