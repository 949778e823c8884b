"""Masks and pictures → the same, blurred, and pictures whose hole is filled with what is around it: 8 bits, on the CPU.

Knows no nodes and no device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOBE = 2.5
"""How many standard deviations of a Gaussian count, each way."""

_FILLS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""The radii of the blurs that fill a hole, from far to near, and how often each is laid on."""


def blurred(mask: NDArray[numpy.uint8], x: int, y: int) -> NDArray[numpy.uint8]:
    """Return ``mask`` (h, w), blurred by Gaussians with standard deviations of ``x`` and ``y`` pixels; 0 leaves it.

    As OpenCV's ``GaussianBlur`` with a kernel of 2 · int(2.5 · deviation + 0.5) + 1: the border is mirrored without its
    outermost row, and the result rounded after each direction.
    """
    return _blurred_down(_blurred_down(mask.T, x).T, y)


def _blurred_down(mask: NDArray[numpy.uint8], deviation: int) -> NDArray[numpy.uint8]:
    if deviation == 0:
        return mask
    reach = int(_LOBE * deviation + 0.5)
    weights = numpy.exp(-(numpy.arange(-reach, reach + 1, dtype=numpy.float64) ** 2) / (2 * deviation**2))
    weights /= weights.sum()
    padded = numpy.pad(mask, ((reach, reach), (0, 0)), mode="reflect").astype(numpy.float32)
    total = numpy.zeros(mask.shape, dtype=numpy.float32)
    for place, weight in enumerate(weights):
        total += padded[place : place + mask.shape[0]] * numpy.float32(weight)
    rounded: NDArray[numpy.uint8] = numpy.rint(total).clip(0, 255).astype(numpy.uint8)
    return rounded


def filled(picture: NDArray[numpy.uint8], mask: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
    """Return ``picture`` (h, w, 3) with what ``mask`` (h, w) covers replaced by a blur of what it does not.

    The picture without its hole is blurred with smaller and smaller radii, each laid over the ones before, so that
    every pixel gets the nearest colours that reach it. Black remains where nothing is left around the hole.
    """
    height, width = mask.shape
    alpha = Image.fromarray(255 - mask)
    around = Image.new("RGBa", (width, height))
    around.paste(Image.fromarray(picture).convert("RGBA").convert("RGBa"), mask=alpha)
    made = Image.new("RGBA", (width, height))
    for radius, times in _FILLS:
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            made.alpha_composite(layer)
    return numpy.asarray(made.convert("RGB"))
