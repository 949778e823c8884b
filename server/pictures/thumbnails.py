"""Small copies of the server's pictures for galleries, made when they are first asked for and kept in memory.

Knows names and bytes, no jobs and no HTTP.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from typing import Literal

from server.pictures.storage import PictureFiles

ThumbnailFormat = Literal["jpeg", "webp"]

WIDTHS = (16, 2048)
"""The smallest and the largest width of a thumbnail."""

_MOST_BYTES = 32 * 2**20
_AT_A_TIME = 2
"""Thumbnails that are made at the same time, so that a gallery takes few cores from what else the machine does."""
_QUALITY = 82


class Thumbnails:
    """Thumbnails of the pictures in ``files``. The most recently shown ones stay in memory, 32 MiB of them."""

    def __init__(self, files: PictureFiles, most_bytes: int = _MOST_BYTES) -> None:
        self._files = files
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, ThumbnailFormat, int], bytes] = OrderedDict()
        self._making = asyncio.Semaphore(_AT_A_TIME)

    async def get(self, name: str, format: ThumbnailFormat, width: int) -> bytes:
        """Return the picture ``name`` scaled down to ``width`` pixels, or as large as it is if it is narrower.

        Raises ``KeyError`` if there is no picture of that name, also if there was one.
        """
        key = (name, format, width)
        if key in self._kept and await self._files.exists(name):
            self._kept.move_to_end(key)
            return self._kept[key]
        png = await self._files.read(name)
        async with self._making:
            data = await asyncio.to_thread(_scaled, png, format, width)
        self._keep(key, data)
        return data

    def _keep(self, key: tuple[str, ThumbnailFormat, int], data: bytes) -> None:
        self._bytes += len(data) - len(self._kept.pop(key, b""))
        self._kept[key] = data
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _scaled(png: bytes, format: ThumbnailFormat, width: int) -> bytes:
    from PIL import Image as Images
    from PIL.Image import Resampling

    with Images.open(io.BytesIO(png)) as image:
        shown = image.convert("RGB") if format == "jpeg" else image
        if width < shown.width:
            height = max(1, round(shown.height * width / shown.width))
            shown = shown.resize((width, height), Resampling.LANCZOS, reducing_gap=2.0)
        file = io.BytesIO()
        shown.save(file, format.upper(), quality=_QUALITY)
    return file.getvalue()
