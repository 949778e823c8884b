"""Serves pictures: those that were made, to anyone who knows their names, which cannot be guessed; and those that were
handed in, to the client that they belong to."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from engine import BadRequest
from server.dialects.comfyui import uploads
from server.dialects.comfyui.names import file_of
from server.pictures.formats import Format, converted, media_type
from server.problems import bad_request, not_found
from server.web.services import Services

_SHOWN = 200
_PREVIEW = re.compile(r"(webp|jpeg)(?:;([0-9]{1,3}))?")
_CHANNELS = ("rgba", "rgb", "a")

_Name = Annotated[str, Query(description="as the history names it, or as it was handed in")]
_Type = Annotated[str, Query(description=", ".join(uploads.FOLDERS))]
_Preview = Annotated[str | None, Query(description="`webp` or `jpeg`, with a quality from 1 to 100: `webp;90`")]
_Channel = Annotated[str, Query(description="rgba: the file itself; rgb or a: a PNG of its colours, or of its alpha")]


def add(router: APIRouter, services: Services) -> None:
    @router.get("/view", response_class=Response, responses={200: {"content": {"image/*": {}}}})
    async def view(
        http: Request,
        filename: _Name,
        type: _Type = "output",
        subfolder: str = "",
        preview: _Preview = None,
        channel: _Channel = "rgba",
    ) -> Response:
        """A picture: a PNG with its parameters inside, or the file that was handed in; or a preview in another
        format."""
        if type not in uploads.FOLDERS:
            raise bad_request("type", type, f"one of {', '.join(uploads.FOLDERS)}")
        if channel not in _CHANNELS:
            raise bad_request("channel", channel, f"one of {', '.join(_CHANNELS)}")
        format, quality = _preview(preview)
        data = await _picture(services, services.client_of(http), filename, subfolder, type)
        if channel != "rgba":
            data = await asyncio.to_thread(_channel, data, channel)
        if preview is not None:
            data = await converted(data, format, quality)
        headers = {
            "Content-Disposition": f"inline; {_named(filename[:_SHOWN])}",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(data, media_type=await media_type(data), headers=headers)


def _named(filename: str) -> str:
    """Return a file's name as a header writes it, percent-encoded where it is more than plain characters."""
    plain = filename.isascii() and filename.isprintable() and '"' not in filename and "\\" not in filename
    return f'filename="{filename}"' if plain else f"filename*=utf-8''{quote(filename, safe='')}"


async def _picture(services: Services, client: str, filename: str, subfolder: str, type: str) -> bytes:
    """Return a picture's file. What is no name of a picture of ours never reaches the storage. Raises ``Problem``."""
    folder, name = uploads.split(filename, type)
    path = uploads.path_of(name, subfolder)
    made = file_of(name)
    if path is not None and made is not None and folder != "input":
        try:
            return await services.outputs.read(made)
        except KeyError:
            raise not_found("picture", filename[:_SHOWN]) from None
    if path is None:
        raise not_found("picture", "/".join((type, subfolder[:_SHOWN], filename[:_SHOWN])))
    try:
        return await services.inputs.read(await uploads.find(services, client, folder, path, "filename"))
    except BadRequest:
        raise not_found("picture", "/".join((folder, path[:_SHOWN]))) from None


def _channel(data: bytes, channel: str) -> bytes:
    """Return a PNG of a picture's colours, or one whose alpha is the picture's."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        shown = image.convert("RGB" if channel == "rgb" else "RGBA")
    if channel == "a":
        alpha = shown.getchannel("A")
        shown = Image.new("RGBA", shown.size)
        shown.putalpha(alpha)
    file = io.BytesIO()
    shown.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _preview(text: str | None) -> tuple[Format, int | None]:
    """Return the format that is asked for, and its quality."""
    if text is None:
        return "png", None
    match = _PREVIEW.fullmatch(text)
    if match is None or (match[2] and not 1 <= int(match[2]) <= 100):
        raise bad_request("preview", text, "webp or jpeg, with a quality from 1 to 100: webp;90")
    return ("webp" if match[1] == "webp" else "jpeg"), int(match[2]) if match[2] else None
