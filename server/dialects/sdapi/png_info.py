"""``png-info``: the parameters that a picture carries, parsed as AUTOMATIC1111 parses them. Pixels are not decoded."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from engine import BadRequest
from engine.formats.infotext import LONGEST
from engine.formats.png import text_chunks
from server.dialects.shared.bodies import body_as, json_body
from server.inputs.texts import bytes_of
from server.pictures.formats import user_comment
from server.problems import bad_request
from server.web.routing import direct

_PAIR = re.compile(r'(?:^|,)([^:,"]+):\s*("(?:[^"\\]|\\.)*"|[^,]*)')
_SIZE = re.compile(r"(\d+)x(\d+)")
_NEGATIVE = "Negative prompt:"


class PngInfo(BaseModel):
    """The body of ``POST png-info``."""

    image: str = Field(description="a PNG, JPEG or WebP file in base64, also as a data: URL")


def add_png_info(router: APIRouter) -> None:
    """Add the route."""

    described = json_body(PngInfo.model_json_schema())

    @direct(router, "POST", "/sdapi/v1/png-info", summary="Read the parameters in a picture", openapi_extra=described)
    async def png_info(http: Request) -> JSONResponse:
        body = await body_as(PngInfo, http)
        return JSONResponse(await asyncio.to_thread(_info, body.image))


def _info(image: str) -> dict[str, Any]:
    """Write the answer. It may take its time: a file of a few bytes may hold a text of many megabytes."""
    texts = _texts(image)
    info = texts.pop("parameters", "")
    if len(info) > LONGEST:
        raise bad_request("image", image[:40], f"a file whose parameters have at most {LONGEST} characters")
    return {"info": info, "items": texts, "parameters": parsed(info)}


def _texts(image: str) -> dict[str, str]:
    allowed = "a PNG, JPEG or WebP file in base64, also as a data: URL"
    file = bytes_of(image, "image")
    try:
        if file.startswith(b"\x89PNG"):
            return text_chunks(file)
        comment = user_comment(file)
        return {} if comment is None else {"parameters": comment}
    except ValueError:
        raise bad_request("image", image[:40], allowed) from None
    except BadRequest as error:
        raise bad_request("image", image[:40], f"{allowed}: {error.allowed}") from None


def parsed(infotext: str) -> dict[str, str]:
    """Parse an infotext into its prompts and its last line's pairs, with values as text; a size becomes ``Size-1`` and
    ``Size-2`` too."""
    head, _, line = infotext.rstrip().rpartition("\n")
    pairs = {found[1].strip(): _plain(found[2].strip()) for found in _PAIR.finditer(line)}
    if len(pairs) < 3:  # a prompt may hold a colon
        head, pairs = infotext, {}
    prompt, _, negative = ("\n" + head).partition("\n" + _NEGATIVE)
    texts = {"Prompt": prompt[1:], "Negative prompt": negative.strip()}
    for key, value in list(pairs.items()):
        if size := _SIZE.fullmatch(value):
            pairs |= {f"{key}-1": size[1], f"{key}-2": size[2]}
    return (texts if infotext else {}) | pairs


def _plain(value: str) -> str:
    """Remove the quotes that guard commas."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
