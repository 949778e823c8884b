"""The text chunks of a PNG file, read without its pixels.

Knows the container of the PNG specification (https://www.w3.org/TR/png-3/); does not know what the texts mean.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from engine.errors import BadRequest

FIELD = "repeat"
"""The field of errors about a file, unless the caller names another: the command line's word."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_LARGEST_TEXT = 8 * 2**20
"""Bytes of all texts of one file together, unpacked. Large ComfyUI graphs have a tenth of it."""
_MOST_CHUNKS = 100_000
"""libpng's own 8 KiB a chunk make this a file of 800 MB; a file of empty chunks would only cost time."""


class _Damaged(Exception):
    """What is wrong with the file."""


def name_of(source: Path | str | bytes) -> str:
    """Return what an error calls ``source``."""
    return "the PNG data" if isinstance(source, bytes) else str(source)


def text_chunks(source: Path | str | bytes, field: str = FIELD) -> dict[str, str]:
    """Return the texts of a PNG, given as its path or as its bytes, by keyword; of two with one keyword, the latter.

    Raises ``BadRequest`` on ``field`` for a file that cannot be read, is no PNG, is cut off, whose text chunks
    are damaged, or whose texts are larger than 8 MiB.
    """
    try:
        if isinstance(source, bytes):
            return _texts(io.BytesIO(source))
        if not Path(source).is_file():
            raise BadRequest(field, name_of(source), "a PNG file")
        with open(source, "rb") as file:
            return _texts(file)
    except _Damaged as error:
        raise BadRequest(field, name_of(source), f"a whole PNG file ({error})") from None
    except (OSError, ValueError) as error:
        raise BadRequest(field, name_of(source), f"a file that can be read ({error})") from None


def _texts(file: BinaryIO) -> dict[str, str]:
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise _Damaged("it does not start as one")
    size = file.seek(0, io.SEEK_END)
    at = len(_SIGNATURE)
    texts: dict[str, str] = {}
    room = _LARGEST_TEXT
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if at + 12 + length > size:
            raise _Damaged("it is cut off")
        if at == len(_SIGNATURE) and kind != b"IHDR":
            raise _Damaged("its header is missing")
        if kind in _TEXT_CHUNKS:
            if length > room:
                raise _Damaged("its texts are too large")
            data = file.read(length)
            if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(file.read(4), "big"):
                raise _Damaged("a text in it is damaged")
            keyword, text = _text(kind, data, room)
            texts[keyword] = text
            room -= len(keyword) + len(text)
        if kind == b"IEND":
            return texts
        at += 12 + length
    raise _Damaged("it has too many chunks")


def _text(kind: bytes, data: bytes, room: int) -> tuple[str, str]:
    """A text chunk's keyword and text (PNG specification, 11.3.3)."""
    keyword, _, rest = data.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]  # the compression method, of which there is one
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        *_, rest = rest[2:].split(b"\0", 2)
    if packed:
        rest = _unpacked(rest, room)
    try:
        return keyword.decode("latin-1"), rest.decode("utf-8" if kind == b"iTXt" else "latin-1")
    except UnicodeDecodeError:
        raise _Damaged("a text in it is damaged") from None


def _unpacked(data: bytes, room: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, room + 1)
    except zlib.error:
        raise _Damaged("a text in it is damaged") from None
    if len(unpacked) > room or not unpacker.eof:
        raise _Damaged("a text in it is damaged, or too large when unpacked")
    return unpacked
