"""A job's pictures and previews as JSON for OpenAI's clients. This module knows no route.

``usage`` is all zeros, because nothing is counted in tokens. ``seed`` is our own field beside OpenAI's.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, Literal

from PIL.Image import Image
from pydantic import BaseModel, Field

from server.dialects.openai.body import Call, Kind
from server.dialects.shared.waiting import read_picture
from server.job import Job, Picture
from server.pictures.formats import Format, converted, preview_bytes
from server.web.services import Services

_PREVIEW_SCALE = 8
"""How many times a preview is smaller than the picture, on each side."""

_EVENT: Mapping[Kind, str] = {"edit": "image_edit", "generation": "image_generation", "variation": "image_edit"}
"""What the types of a stream's events begin with."""

_NO_DETAILS = {"image_tokens": 0, "text_tokens": 0}
USAGE = {
    "input_tokens": 0,
    "input_tokens_details": _NO_DETAILS,
    "output_tokens": 0,
    "output_tokens_details": _NO_DETAILS,
    "total_tokens": 0,
}


class ImageAnswer(BaseModel):
    b64_json: str | None = None
    url: str | None = None
    seed: int = Field(description="repeats the picture, as the parameter seed of a call")


class ImagesAnswer(BaseModel):
    created: int
    data: list[ImageAnswer]
    background: Literal["opaque"]
    output_format: Format
    quality: str | None = Field(description="low, medium or high, where the call said so")
    size: str
    usage: dict[str, Any] = Field(description="zeros: nothing is counted in tokens")


async def images_json(services: Services, job: Job, call: Call, base_url: str) -> dict[str, Any]:
    """Return the JSON of an ``ImagesAnswer``."""
    data: list[dict[str, Any]] = []
    for picture in job.pictures:
        if call.controls.response_format == "url":
            stem = picture.name.removesuffix(".png")
            quality = "" if call.controls.picture_quality is None else f"?quality={call.controls.picture_quality}"
            described = {"url": f"{base_url}/api/v1/images/{stem}.{call.controls.output_format}{quality}"}
        else:
            described = {"b64_json": await _encoded(await read_picture(services, picture.name), call)}
        data.append({**described, "seed": picture.seed})
    return {
        "created": int(job.created),
        "data": data,
        "background": "opaque",
        "output_format": call.controls.output_format,
        "quality": call.controls.shown_quality,
        "size": size_of(job.pictures[0]),
        "usage": USAGE,
    }


async def partial_json(preview: Image, call: Call, index: int) -> dict[str, Any]:
    """Return the event ``….partial_image``: the preview in the picture's size and format."""
    png = await preview_bytes(preview, format="png", scale=_PREVIEW_SCALE)
    described = {"type": f"{_EVENT[call.kind]}.partial_image", "partial_image_index": index}
    size = f"{preview.width * _PREVIEW_SCALE}x{preview.height * _PREVIEW_SCALE}"
    return {**described, "b64_json": await _encoded(png, call), **_settings(call, size)}


async def completed_json(services: Services, job: Job, call: Call) -> dict[str, Any]:
    """Return the event ``….completed``."""
    picture = job.pictures[0]
    encoded = await _encoded(await read_picture(services, picture.name), call)
    described = {"type": f"{_EVENT[call.kind]}.completed", "b64_json": encoded, "seed": picture.seed, "usage": USAGE}
    return {**described, **_settings(call, size_of(picture))}


def size_of(picture: Picture) -> str:
    """Return a picture's size as OpenAI writes it."""
    return f"{picture.width}x{picture.height}"


def _settings(call: Call, size: str) -> dict[str, Any]:
    return {
        "created_at": int(time.time()),
        "size": size,
        "quality": call.controls.shown_quality or "auto",
        "background": "opaque",
        "output_format": call.controls.output_format,
    }


async def _encoded(png: bytes, call: Call) -> str:
    data = (
        png
        if call.controls.output_format == "png"
        else await converted(png, call.controls.output_format, call.controls.picture_quality)
    )
    return base64.b64encode(data).decode()
