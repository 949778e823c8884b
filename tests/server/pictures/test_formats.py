"""Tests pictures in other formats, and previews."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine import BadRequest
from engine.formats.png import request_from_png
from server.pictures.formats import converted, preview_bytes
from tests.server.queues import queue, request

pytestmark = pytest.mark.anyio


async def picture(folder: Path) -> bytes:
    async with queue(folder) as own:
        job = await own.finish(request(width=128, prompt="naïve \U0001f600", seed=2**64 - 1))
        return await own.outputs.read(job.pictures[0].name)


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_a_picture_in_another_format_shows_the_same(tmp_path: Path, format: str, kind: str) -> None:
    png = await picture(tmp_path)
    data = await converted(png, format, None)  # type: ignore[arg-type]
    image, original = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(png))
    assert (image.format, image.size) == (kind, (128, 64))
    pairs = zip(image.convert("RGB").getpixel((5, 5)), original.getpixel((5, 5)), strict=True)  # type: ignore[arg-type]
    assert max(abs(one - other) for one, other in pairs) <= 6
    if format == "png":
        assert data == png
        assert request_from_png(data).seed == 2**64 - 1
    else:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert comment.startswith(b"UNICODE\0")
        text = comment.removeprefix(b"UNICODE\0").decode("utf-16-be")
        assert text.startswith("naïve \U0001f600\n")
        assert f"Seed: {2**64 - 1}" in text


async def test_quality_costs_bytes(tmp_path: Path) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")

    for format in ("jpeg", "webp"):
        low, high = [await converted(file.getvalue(), format, quality) for quality in (10, 95)]  # type: ignore[arg-type]
        assert len(low) < len(high)


@pytest.mark.parametrize("length", [30_000, 40_000])
async def test_parameters_are_carried_as_far_as_there_is_room(length: int) -> None:
    texts = PngInfo()
    texts.add_text("parameters", "x" * length)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    jpeg = await converted(file.getvalue(), "jpeg")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (0x9286 in image.getexif().get_ifd(0x8769)) == (length == 30_000)


async def test_a_picture_that_is_too_large_for_a_format_is_refused() -> None:
    file = io.BytesIO()
    Image.new("1", (16384, 8)).save(file, "PNG")
    with pytest.raises(BadRequest, match="16383"):
        await converted(file.getvalue(), "webp")


@pytest.mark.parametrize(("format", "kind"), [("jpeg", "JPEG"), ("png", "PNG")])
async def test_a_preview_is_enlarged(format: str, kind: str) -> None:
    data = await preview_bytes(Image.new("RGB", (8, 16), (10, 200, 30)), format, 4)  # type: ignore[arg-type]
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == (kind, (32, 64))


@pytest.mark.parametrize(("format", "mode"), [("jpeg", "RGB"), ("webp", "RGBA")])
async def test_transparency_is_kept_where_a_format_has_it(format: str, mode: str) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (10, 200, 30, 100)).save(file, "PNG")
    data = await converted(file.getvalue(), format)  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(data)).mode == mode
