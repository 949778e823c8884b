"""Serves pictures. Anyone who knows a picture's name may see it; names cannot be guessed. No upload is taken."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from server.job import PICTURE_NAME
from server.pictures.formats import Format, converted
from server.problems import Problem, bad_request, not_found, unsupported
from server.web.services import Services

_TYPES = ("output", "temp", "input")
_SHOWN = 200
_PREVIEW = re.compile(r"(webp|jpeg)(?:;([0-9]{1,3}))?")

_Name = Annotated[str, Query(description="as the history names it")]
_Preview = Annotated[str | None, Query(description="`webp` or `jpeg`, with a quality from 1 to 100: `webp;90`")]
_Channel = Annotated[str, Query(description="rgba or rgb: pictures have no alpha channel")]


def add(router: APIRouter, services: Services) -> None:
    @router.get("/view", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    async def view(
        filename: _Name,
        type: Annotated[str, Query(description="output or temp")] = "output",
        subfolder: Annotated[str, Query(description="there are none")] = "",
        preview: _Preview = None,
        channel: _Channel = "rgba",
    ) -> Response:
        """A picture, as PNG with its parameters inside, or as a preview in another format."""
        name = _name(filename, type, subfolder)
        if channel not in ("rgba", "rgb"):
            raise unsupported("channel", channel, "rgba or rgb: the pictures have no alpha channel")
        format, quality = _preview(preview)
        try:
            png = await services.outputs.read(name)
        except KeyError:
            raise not_found("picture", filename) from None
        data = await converted(png, format, quality)
        headers = {"Content-Disposition": f'inline; filename="{name}"'}
        return Response(data, media_type=f"image/{format}", headers=headers)

    @router.post("/upload/{kind}")
    async def upload(kind: Literal["image", "mask"]) -> None:
        """Refused: no node here reads a picture."""
        raise Problem(
            status=400,
            kind="unsupported",
            title="Not supported",
            detail=f"upload/{kind}: no node here reads a picture (LoadImage, VAEEncode …), so none is taken",
        )


def _name(filename: str, type: str, subfolder: str) -> str:
    """Return the picture's name. What is no name of a picture of ours never reaches the storage."""
    for each in _TYPES:
        filename = filename.removesuffix(f" [{each}]")
    if type not in _TYPES:
        raise bad_request("type", type, f"one of {', '.join(_TYPES)}")
    if not PICTURE_NAME.fullmatch(filename):
        raise not_found("picture", filename[:_SHOWN])
    if subfolder or type == "input":
        raise not_found("picture", "/".join((type, subfolder[:_SHOWN], filename)))
    return filename


def _preview(text: str | None) -> tuple[Format, int | None]:
    """Return the format that is asked for, and its quality."""
    if text is None:
        return "png", None
    match = _PREVIEW.fullmatch(text)
    if match is None or (match[2] and not 1 <= int(match[2]) <= 100):
        raise bad_request("preview", text, "webp or jpeg, with a quality from 1 to 100: webp;90")
    return ("webp" if match[1] == "webp" else "jpeg"), int(match[2]) if match[2] else None
