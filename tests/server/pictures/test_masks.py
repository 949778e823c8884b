"""Tests that a mask is as bright as its picture is transparent."""

from __future__ import annotations

import io

import numpy
import pytest
from PIL import Image

from server.pictures.masks import transparency_mask
from tests.server.following import png_of

pytestmark = pytest.mark.anyio


async def test_a_mask_is_as_bright_as_the_picture_is_transparent() -> None:
    alpha = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
    image = Image.new("RGB", (16, 16))
    image.putalpha(Image.fromarray(alpha))
    made = await transparency_mask(png_of(image))
    assert made is not None
    mask = Image.open(io.BytesIO(made))
    assert (numpy.asarray(mask.convert("RGB"))[..., 0] == 255 - alpha).all()
    assert await transparency_mask(png_of(image)) == made


async def test_a_palette_with_a_transparent_colour_makes_a_mask() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=1)
    made = await transparency_mask(file.getvalue())
    assert made is not None
    mask = Image.open(io.BytesIO(made))
    assert [mask.getpixel((x, 0)) for x in (0, 1)] == [0, 255]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
async def test_an_opaque_picture_makes_none(mode: str) -> None:
    assert await transparency_mask(png_of(Image.new(mode, (4, 4), "white"))) is None
