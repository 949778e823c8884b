"""A job's pictures and previews as JSON for OpenAI's clients. This module knows no route.

``usage`` is all zeros, because nothing is counted in tokens. ``seed`` is our own field beside OpenAI's.
"""

from __future__ import annotations

import base64
import time
from typing import Any, Literal

from PIL.Image import Image
from pydantic import BaseModel, Field

from server.dialects.openai.body import Call
from server.dialects.shared.waiting import read_picture
from server.job import Job
from server.pictures.formats import Format, converted, preview_bytes
from server.web.services import Services

_PREVIEW_SCALE = 8
"""How many times a preview is smaller than the picture, on each side."""

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
    quality: None = Field(description="there is one quality")
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
        "quality": None,
        "size": call.size,
        "usage": USAGE,
    }


async def partial_json(preview: Image, call: Call, index: int) -> dict[str, Any]:
    """Return the event ``image_generation.partial_image``: the preview in the picture's size and format."""
    png = await preview_bytes(preview, format="png", scale=_PREVIEW_SCALE)
    described = {"type": "image_generation.partial_image", "partial_image_index": index}
    return {**described, "b64_json": await _encoded(png, call), **_settings(call)}


async def completed_json(services: Services, job: Job, call: Call) -> dict[str, Any]:
    """Return the event ``image_generation.completed``."""
    picture = job.pictures[0]
    encoded = await _encoded(await read_picture(services, picture.name), call)
    described = {"type": "image_generation.completed", "b64_json": encoded, "seed": picture.seed, "usage": USAGE}
    return {**described, **_settings(call)}


def _settings(call: Call) -> dict[str, Any]:
    return {
        "created_at": int(time.time()),
        "size": call.size,
        "quality": "auto",
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
