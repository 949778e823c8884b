"""Pictures with a hole, and pictures under them: 8 bits, on the CPU. Knows no nodes and no device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILLS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""The radii of the blurs that fill a hole, from far to near, and how often each is laid on."""


def filled(picture: NDArray[numpy.uint8], mask: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
    """Return ``picture`` (h, w, 3) with what ``mask`` (h, w) covers replaced by a blur of what it does not.

    The picture without its hole is blurred with smaller and smaller radii, each laid over the ones before, so that
    every pixel gets the nearest colours that reach it. Black remains where nothing is left around the hole.
    """
    around = _with_hole(picture, mask)
    made = Image.new("RGBA", around.size)
    for radius, times in _FILLS:
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            made.alpha_composite(layer)
    return numpy.asarray(made.convert("RGB"))


def pasted_under(
    picture: NDArray[numpy.uint8], original: NDArray[numpy.uint8], mask: NDArray[numpy.uint8], x: int, y: int
) -> NDArray[numpy.uint8]:
    """Return ``original`` (H, W, 3), in whose hole one sees ``picture`` (h, w, 3), which lies at (``x``, ``y``).

    ``mask`` (H, W) is 255 in the hole. Colours are multiplied by their opacity in 8 bits and divided again, which is
    what AUTOMATIC1111 does and costs up to two steps of a colour at the hole's edge.
    """
    over = _with_hole(original, mask).convert("RGBA")
    made = Image.new("RGBA", over.size)
    made.paste(Image.fromarray(picture), (x, y))
    made.alpha_composite(over)
    return numpy.asarray(made.convert("RGB"))


def _with_hole(picture: NDArray[numpy.uint8], mask: NDArray[numpy.uint8]) -> Image.Image:
    """``picture``, transparent where ``mask`` is 255, its colours multiplied by their opacity."""
    made = Image.new("RGBa", (picture.shape[1], picture.shape[0]))
    made.paste(Image.fromarray(picture).convert("RGBA").convert("RGBa"), mask=Image.fromarray(255 - mask))
    return made
