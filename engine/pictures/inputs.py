"""Pictures that a caller hands in: found by name, decoded, turned upright, as 8-bit arrays.

Decodes what Pillow reads of the usual formats, on the caller's thread. Knows no nodes and no device.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from engine.errors import BadRequest
from engine.workflow.latents import MAX_BATCH, MAX_SIDE
from engine.workflow.sizes import PictureSize

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture: TypeAlias = Image.Image | bytes | Path | str
"""A picture as a caller has it: in memory, as the bytes of a file, or the file's path."""

Source: TypeAlias = Path | str | Mapping[str, Picture]
"""Where pictures come from: a folder, in whose subfolders they may lie; one file; or pictures by name."""

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "TGA", "ICO")
"""The formats that are read. Pillow knows more, and some of those start other programs."""

MAX_PIXELS = 2**26
"""The pixels of a picture, all its frames together: 8192 × 8192."""

_SHOWN = 8
"""The names that an error lists."""

_ANNOTATIONS = (" [input]", " [output]", " [temp]")
"""What ComfyUI's editor puts behind the name of a picture, for the folder that it lies in."""

_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}


@dataclass(frozen=True, eq=False, kw_only=True)
class InputPicture:
    """A picture as it was handed in. An animated one has a frame for each of those that are as large as the first."""

    pixels: NDArray[numpy.uint8]
    """(frames, height, width, 3)"""
    alpha: NDArray[numpy.uint8] | None = None
    """(frames, height, width), where it has transparency."""
    keyed: bool = False
    """Whether that is one colour that is declared transparent, rather than a channel or a palette's."""
    sha256: str
    """Of the pixels and the alpha."""

    @functools.cached_property
    def size(self) -> PictureSize:
        """Its size; ``alpha`` says whether it has a channel or a palette with transparency."""
        frames, height, width, _ = self.pixels.shape
        alpha = self.alpha is not None and not self.keyed
        return PictureSize(pictures=frames, height=height, width=width, alpha=alpha)


def sources_of(inputs: Source | Sequence[Source]) -> tuple[Source, ...]:
    """Return what a caller handed in as sources. Raises ``BadRequest`` for a path where there is nothing."""
    given = (inputs,) if isinstance(inputs, Path | str | Mapping) else tuple(inputs)
    for source in given:
        if not isinstance(source, Mapping) and not Path(source).exists():
            raise BadRequest("inputs", str(source), "a folder of pictures, or a picture's file, that is there")
    return given


def read_input(name: str, sources: Sequence[Source]) -> InputPicture:
    """Return the picture ``name`` from the first source that has it.

    Raises ``BadRequest``, with ``name`` as its field, where none has it, for what is no picture in one of ``FORMATS``,
    is broken, or has more than ``MAX_PIXELS``.
    """
    places = (_found(name, source) for source in sources)
    found = next((place for place in places if place is not None), None)
    if found is None:
        raise not_there(name, sources)
    try:
        return _decoded(name, found)
    except BadRequest:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadRequest("name", name, f"a picture of at most {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's readers raise whatever a broken file makes of them
        reason = "it is in none of these formats" if isinstance(error, UnidentifiedImageError) else str(error)
        formats = ", ".join(FORMATS)
        raise BadRequest("name", name, f"a whole picture in one of {formats} ({reason[:120]})") from None


def is_there(name: str, sources: Sequence[Source]) -> bool:
    """Return whether one of the sources has the picture ``name``."""
    return any(_found(name, source) is not None for source in sources)


def not_there(name: str, sources: Sequence[Source]) -> BadRequest:
    """Return the error that no source has the picture ``name``, which lists those that they have."""
    known = [each for source in sources for each in _names(source)]
    listed = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    return BadRequest("name", name, f"the name of a picture that was handed in: {listed or 'there are none'}")


def _found(name: str, source: Source) -> Picture | None:
    plain = name
    for annotation in _ANNOTATIONS:
        plain = plain.removesuffix(annotation)
    plain = plain.replace("\\", "/")
    if isinstance(source, Mapping):
        return next((source[each] for each in (name, plain) if each in source), None)
    path = Path(source)
    if path.is_file():
        return path if path.name == plain else None
    with contextlib.suppress(OSError, ValueError):
        file = (path / plain).resolve()
        if file.is_relative_to(path.resolve()) and file.is_file():
            return file
    return None


def _names(source: Source) -> Iterator[str]:
    if isinstance(source, Mapping):
        yield from source
    elif Path(source).is_file():
        yield Path(source).name
    else:
        names = sorted(each.name for each in Path(source).iterdir())
        yield from itertools.islice((name for name in names if _found(name, source) is not None), _SHOWN + 1)


def _decoded(name: str, picture: Picture) -> InputPicture:
    if isinstance(picture, Image.Image):
        return _of_frames(name, [picture], animated=False)
    file: Any = io.BytesIO(picture) if isinstance(picture, bytes | bytearray | memoryview) else Path(picture)
    Image.init()
    with Image.open(
        file, formats=[each for each in FORMATS if each in Image.OPEN]
    ) as image:  # AVIF is not in each build
        return _of_frames(name, ImageSequence.Iterator(image), animated=image.format != "MPO")


def _of_frames(name: str, frames: Any, *, animated: bool) -> InputPicture:
    """The frames of the first one's size; of a picture that is not animated, the first."""
    pixels: list[NDArray[numpy.uint8]] = []
    alphas: list[NDArray[numpy.uint8] | None] = []
    keyed, room = False, MAX_PIXELS
    for frame in frames:
        room -= _checked_area(name, frame, room)
        upright = ImageOps.exif_transpose(frame)
        colours, alpha, key = _channels(upright)
        if not pixels or colours.shape == pixels[0].shape:
            pixels.append(colours)
            alphas.append(alpha)
            keyed = keyed or key
        if not animated:
            break
    alpha = None
    if any(each is not None for each in alphas):
        opaque = numpy.full(pixels[0].shape[:2], 255, numpy.uint8)
        alpha = numpy.stack([opaque if each is None else each for each in alphas])
    whole = numpy.stack(pixels)
    digest = hashlib.sha256(repr(whole.shape).encode() + whole.tobytes() + (b"" if alpha is None else alpha.tobytes()))
    return InputPicture(pixels=whole, alpha=alpha, keyed=keyed, sha256=digest.hexdigest())


def _checked_area(name: str, frame: Image.Image, room: int) -> int:
    """The pixels of a frame, before they are decoded."""
    width, height = frame.size
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > room:
        allowed = f"a picture with sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS:,} pixels, all frames together"
        raise BadRequest("name", name, f"{allowed}; this has {width} × {height} a frame")
    if frame.tell() >= MAX_BATCH:
        raise BadRequest("name", name, f"a picture of at most {MAX_BATCH} frames")
    return width * height


def _channels(image: Image.Image) -> tuple[NDArray[numpy.uint8], NDArray[numpy.uint8] | None, bool]:
    """Colours (h, w, 3), alpha (h, w) if there is any, and whether it comes of a colour that is declared transparent.

    As in ComfyUI, values of 32-bit greys are divided by 255, and those of 16-bit greys are clipped at 255.
    """
    if image.mode == "I":
        image = image.point(lambda value: value * (1 / 255))
    elif image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    declared = "transparency" in image.info and image.mode in ("P", "L", "RGB")
    if declared or image.mode in ("RGBA", "LA", "PA"):
        rgba = numpy.asarray(image.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3], image.mode in ("L", "RGB")
    return numpy.asarray(image.convert("RGB")), None, False
