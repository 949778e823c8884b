"""Pictures that are handed in: every kind of file becomes 8-bit pixels, or is refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import BadRequest
from engine.pictures import inputs
from engine.pictures.inputs import InputPicture, Source, read_input, sources_of

RED = Image.new("RGB", (6, 4), (200, 10, 30))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(picture: Any) -> InputPicture:
    return read_input("a picture", [{"a picture": picture}])


def reason(picture: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        read(picture)
    assert (caught.value.field, caught.value.value) == ("name", "a picture")
    return caught.value.allowed


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA"])
def test_the_pixels_are_those_of_the_file(format: str) -> None:
    picture = read(encoded(RED, format))
    assert picture.pixels.shape == (1, 4, 6, 3)
    assert (picture.pixels == (200, 10, 30)).all()
    assert picture.alpha is None


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_are_read(format: str) -> None:
    assert abs(read(encoded(RED, format)).pixels.astype(int) - (200, 10, 30)).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "F", "I", "I;16"])
def test_modes_without_transparency_become_rgb(mode: str) -> None:
    grey = Image.new("L", (6, 4), 0)
    picture = read(grey.convert(mode))
    assert picture.pixels.shape == (1, 4, 6, 3)
    assert picture.alpha is None
    assert not picture.pixels.any()


def test_a_cmyk_jpeg_is_read() -> None:
    assert read(encoded(RED.convert("CMYK"), "JPEG")).size.pixels == (6, 4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
def test_transparency_is_kept_and_not_multiplied_in(mode: str) -> None:
    image = Image.new("RGBA", (6, 4), (100, 100, 100, 51))
    if mode in ("LA", "La"):
        image = image.convert("LA")
    picture = read(image.convert(mode) if mode != image.mode else image)
    assert picture.alpha is not None
    assert (picture.alpha == 51).all()
    assert abs(picture.pixels.astype(int) - 100).max() <= 3
    assert picture.size.alpha


def test_a_palette_may_be_transparent() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    picture = read(encoded(image, "PNG", transparency=bytes([255, 40])))
    assert (picture.pixels == (9, 8, 7)).all()
    assert picture.alpha is not None
    assert (picture.alpha == 40).all()
    assert picture.size.alpha


def test_a_colour_that_is_declared_transparent_counts_for_masks_alone() -> None:
    picture = read(encoded(RED, "PNG", transparency=(200, 10, 30)))
    assert picture.alpha is not None
    assert not picture.alpha.any()
    assert not picture.size.alpha


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(orientation: int) -> None:
    upright = numpy.arange(2 * 3, dtype=numpy.uint8).reshape(2, 3) * 40
    turns = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1]}
    turns |= {5: lambda p: p.T, 6: lambda p: p.T[::-1], 7: lambda p: p[::-1, ::-1].T, 8: lambda p: p.T[:, ::-1]}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(numpy.ascontiguousarray(turns[orientation](upright)))
    picture = read(encoded(stored, "PNG", exif=exif))
    assert picture.pixels[0, ..., 0].tolist() == upright.tolist()


def test_sixteen_bits_are_clipped_at_255_as_in_comfyui() -> None:
    deep = Image.fromarray(numpy.array([[7, 255, 256, 65535]], numpy.uint16))
    assert read(encoded(deep, "PNG")).pixels[0, 0, :, 0].tolist() == [7, 255, 255, 255]


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animated_picture_is_a_batch_of_its_frames(format: str) -> None:
    frames = [Image.new("RGB", (6, 4), (0, 0, 50 * number)) for number in range(4)]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = read(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert picture.pixels.shape == (4, 4, 6, 3)
    assert picture.pixels[:, 0, 0, 2].tolist() == [0, 50, 100, 150]
    assert read(frames[0]).size.pictures == 1


def test_frames_of_another_size_than_the_first_are_left_out() -> None:
    frames = [Image.new("RGB", (side, 4)) for side in (6, 8, 6)]
    assert read(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])).size.pictures == 2


def test_one_pixel_is_a_picture() -> None:
    assert read(Image.new("RGB", (1, 1), (1, 2, 3))).pixels.tolist() == [[[[1, 2, 3]]]]


@pytest.mark.parametrize("content", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg></svg>", b"\0" * 64])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    assert "a whole picture in one of PNG, JPEG" in reason(content)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@given(share=st.floats(0, 0.9), data=st.binary(max_size=40))
def test_a_broken_file_is_read_or_refused(format: str, share: float, data: bytes) -> None:
    whole = encoded(Image.effect_noise((40, 30), 60), format)
    cut = int(len(whole) * share)
    for broken in (whole[:cut], whole[:cut] + data + whole[cut + len(data) :]):
        try:
            assert read(broken).pixels.dtype == numpy.uint8
        except BadRequest as error:
            assert error.field == "name"


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 16384, 16384, 8, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert "67,108,864 pixels" in reason(file)


def test_all_frames_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_PIXELS", 100)
    frames = [Image.new("RGB", (6, 4)) for _ in range(6)]
    assert "all frames together" in reason(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))


def test_sources_are_searched_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "sub" / "a.png")
    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    by_name: Source = {"a.png": Image.new("RGB", (4, 4))}
    found: list[tuple[str, list[Source], int]] = [
        ("a.png", [tmp_path, by_name], 3),
        ("a.png", [by_name, tmp_path], 4),
        ("a.png [input]", [tmp_path], 3),
        ("sub/a.png", [tmp_path], 2),
        ("sub\\a.png", [str(tmp_path)], 2),
        ("a.png", [tmp_path / "sub" / "a.png"], 2),
        ("b", [{"b": str(tmp_path / "a.png")}], 3),
        ("b", [{"b": (tmp_path / "a.png").read_bytes()}], 3),
    ]
    for name, sources, side in found:
        assert read_input(name, sources).size.pixels == (side, side)


@pytest.mark.parametrize("name", ["b.png", "../a.png", "/etc/hostname", "a\0b", "", ".", "x" * 5000])
def test_a_name_that_no_source_has_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    RED.save(folder / "c.png")
    RED.save(tmp_path / "a.png")
    with pytest.raises(BadRequest, match=r"handed in: c\.png"):
        read_input(name, [folder])


def test_a_link_out_of_a_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    RED.save(tmp_path / "a.png")
    (tmp_path / "input" / "a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(BadRequest, match="handed in: there are none"):
        read_input("a.png", [tmp_path / "input"])


def test_one_source_needs_no_list(tmp_path: Path) -> None:
    assert sources_of(tmp_path) == (tmp_path,)
    assert sources_of({"a": RED}) == ({"a": RED},)
    with pytest.raises(BadRequest, match="inputs"):
        sources_of([tmp_path / "missing"])


def test_equal_pictures_have_one_digest() -> None:
    assert read(RED).sha256 == read(encoded(RED, "PNG")).sha256
    assert read(RED).sha256 != read(RED.resize((4, 6))).sha256


def test_the_callers_picture_stays_as_it_is() -> None:
    image = RED.copy()
    read(image)
    assert image.tobytes() == RED.tobytes()
