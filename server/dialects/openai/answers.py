"""What came of a job, and what comes on the way, as OpenAI's clients read it. Knows no routes.

``usage`` is all zeros: nothing is counted in tokens. ``seed`` is ours, beside OpenAI's fields.
"""

from __future__ import annotations

import base64
import time
from typing import Any, Literal

from PIL.Image import Image
from pydantic import BaseModel, Field

from server.dialects.openai.body import Asked
from server.dialects.shared.waiting import read_picture
from server.job import Job
from server.pictures.formats import converted, preview_bytes
from server.web.services import Services

_PREVIEW_SCALE = 8
"""A preview is an eighth of the picture's size."""

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
    output_format: Literal["png", "jpeg", "webp"]
    quality: None = Field(description="there is but one")
    size: str
    usage: dict[str, Any] = Field(description="zeros: nothing is counted in tokens")


async def images_json(services: Services, job: Job, asked: Asked, base_url: str) -> dict[str, Any]:
    """``ImagesAnswer``."""
    data: list[dict[str, Any]] = []
    for picture in job.pictures:
        if asked.response_format == "url":
            stem = picture.name.removesuffix(".png")
            quality = "" if asked.quality is None else f"?quality={asked.quality}"
            told = {"url": f"{base_url}/api/v1/images/{stem}.{asked.output_format}{quality}"}
        else:
            told = {"b64_json": await _encoded(await read_picture(services, picture.name), asked)}
        data.append({**told, "seed": picture.seed})
    return {
        "created": int(job.created),
        "data": data,
        "background": "opaque",
        "output_format": asked.output_format,
        "quality": None,
        "size": asked.size,
        "usage": USAGE,
    }


async def partial_json(preview: Image, asked: Asked, index: int) -> dict[str, Any]:
    """``image_generation.partial_image``: the preview at the picture's size and in its format."""
    png = await preview_bytes(preview, format="png", scale=_PREVIEW_SCALE)
    told = {"type": "image_generation.partial_image", "partial_image_index": index}
    return {**told, "b64_json": await _encoded(png, asked), **_settings(asked)}


async def completed_json(services: Services, job: Job, asked: Asked) -> dict[str, Any]:
    """``image_generation.completed``."""
    picture = job.pictures[0]
    encoded = await _encoded(await read_picture(services, picture.name), asked)
    told = {"type": "image_generation.completed", "b64_json": encoded, "seed": picture.seed, "usage": USAGE}
    return {**told, **_settings(asked)}


def _settings(asked: Asked) -> dict[str, Any]:
    return {
        "created_at": int(time.time()),
        "size": asked.size,
        "quality": "auto",
        "background": "opaque",
        "output_format": asked.output_format,
    }


async def _encoded(png: bytes, asked: Asked) -> str:
    data = png if asked.output_format == "png" else await converted(png, asked.output_format, asked.quality)
    return base64.b64encode(data).decode()
