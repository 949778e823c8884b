"""Encodes images as PNGs with their parameters inside, and PNGs as what a caller asks for. Works off the event loop.

Knows the engine's results; knows no jobs and no files.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from engine import BadRequest, GenerationResult, __version__
from engine.formats.png import encode_png, picture_metadata, workflow_metadata
from server.task import Task

if TYPE_CHECKING:
    from PIL.Image import Image

Format = Literal["png", "jpeg", "webp"]
"""The formats in which pictures are sent, by the names that media types have for them."""

FORMATS: tuple[Format, ...] = get_args(Format)

FORMAT_OF_SUFFIX: Mapping[str, Format] = {**{format: format for format in FORMATS}, "jpg": "jpeg"}
"""What a picture's name may end in → the format."""

PICTURE_CONTENT = {f"image/{format}": {"schema": {"type": "string", "format": "binary"}} for format in FORMATS}
"""The OpenAPI content of an answer that is a picture in one of the formats."""

_DEFAULT_QUALITY = 90
_LARGEST_SIDE: dict[Format, int] = {"jpeg": 65500, "webp": 16383}
_MOST_EXIF = 65_000
"""The most bytes of EXIF text: a JPEG's segment has 65,535, and EXIF needs some of them."""


def encoders(
    tasks: Sequence[Task],
    results: Sequence[GenerationResult],
    short_hashes: dict[str, str],
    posted: Sequence[Mapping[str, str] | None],
) -> list[Callable[[], bytes]]:
    """Return functions that encode the pictures of each task's result as PNGs, in their order.

    Each takes milliseconds, so call it off the event loop. ``short_hashes`` are the known ones, by checkpoint file;
    ``posted`` are the texts that a dialect puts in place of the server's own, for each task.
    """
    return [
        partial(_png, task, result.record, index, image, short_hashes, texts)
        for task, result, texts in zip(tasks, results, posted, strict=True)
        for images in result.outputs.values()
        for index, image in enumerate(images)
    ]


async def converted(png: bytes, format: Format, quality: int | None = None) -> bytes:
    """Convert one of the server's PNGs to another format, which keeps its parameters if it has room for them.

    ``quality`` is 0 … 100, None for a good one; PNG ignores it. Raises ``BadRequest`` for a picture that is larger than
    the format can hold.
    """
    return png if format == "png" else await asyncio.to_thread(_converted, png, format, quality)


async def preview_bytes(image: Image, format: Literal["png", "jpeg"] = "jpeg", scale: int = 4) -> bytes:
    """Encode an event's preview, enlarged by ``scale``."""
    return await asyncio.to_thread(_preview, image, format, scale)


async def media_type(data: bytes) -> str:
    """Return the media type of a picture's file, by its content."""
    return await asyncio.to_thread(_media_type, data)


def _media_type(data: bytes) -> str:
    from PIL import Image as Images

    with Images.open(io.BytesIO(data)) as image:
        return Images.MIME.get(image.format or "", "application/octet-stream")


def _png(
    task: Task,
    record: Mapping[str, Any],
    index: int,
    image: Image,
    short_hashes: dict[str, str],
    posted: Mapping[str, str] | None,
) -> bytes:
    if task.request is None:
        return encode_png(image, workflow_metadata(task.workflow, record=record, index=index, posted=posted))
    file = str(record["checkpoint"])
    metadata = picture_metadata(
        task.request,
        checkpoint_file=file,
        model_name=file.rpartition(".")[0] or file,
        model_hash=short_hashes.get(file),
        record=record,
        index=index,
        version=__version__,
        posted=posted,
    )
    return encode_png(image, metadata)


def _converted(png: bytes, format: Format, quality: int | None) -> bytes:
    from PIL import Image as Images

    with Images.open(io.BytesIO(png)) as image:
        if max(image.size) > _LARGEST_SIDE[format]:
            allowed = f"png, for a picture of more than {_LARGEST_SIDE[format]} pixels a side"
            raise BadRequest("format", format, allowed)
        image.load()
        texts: dict[str, str] = getattr(image, "text", {})
        file = io.BytesIO()
        chosen = _DEFAULT_QUALITY if quality is None else quality
        shown = image.convert("RGB") if format == "jpeg" else image  # which has no transparency
        shown.save(file, format.upper(), quality=chosen, exif=_exif(texts.get("parameters")))
    return file.getvalue()


def _exif(parameters: str | None) -> bytes:
    """Return EXIF with AUTOMATIC1111's line in the user comment, in UTF-16, where its own JPEGs carry it."""
    from PIL import Image as Images

    exif = Images.Exif()
    comment = b"" if parameters is None else b"UNICODE\0" + parameters.encode("utf-16-be")
    if 0 < len(comment) <= _MOST_EXIF:
        exif.get_ifd(0x8769)[0x9286] = comment
    return exif.tobytes()


def user_comment(file: bytes) -> str | None:
    """Return the EXIF user comment of a JPEG or a WebP, in which AUTOMATIC1111 and this server put the parameters.

    None if there is none. Pixels are not decoded. Raises ``ValueError`` for a file that is neither or is damaged.
    """
    from PIL import Image as Images

    try:
        with Images.open(io.BytesIO(file), formats=("JPEG", "WEBP")) as picture:
            comment = picture.getexif().get_ifd(0x8769).get(0x9286)
    except Exception as error:  # Pillow's readers raise many kinds for a damaged file
        raise ValueError(str(error)) from None
    if not isinstance(comment, bytes) or not comment.startswith(b"UNICODE\0"):
        return None
    return comment[8:].decode("utf-16-be", "replace")


def _preview(image: Image, format: Literal["png", "jpeg"], scale: int) -> bytes:
    from PIL.Image import Resampling

    file = io.BytesIO()
    large = image.convert("RGB").resize((image.width * scale, image.height * scale), Resampling.BILINEAR)
    large.save(file, format.upper(), **({"quality": 80} if format == "jpeg" else {"compress_level": 1}))
    return file.getvalue()
