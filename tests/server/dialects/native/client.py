"""Calls of the native API on a test's server."""

from __future__ import annotations

import io
from typing import Any

import httpx
from PIL import Image

JSON = dict[str, Any]


def generate(client: httpx.Client, expected: int = 200, **body: Any) -> JSON:
    answer = client.post("/generate", json=body)
    assert answer.status_code == expected, answer.text
    job: JSON = answer.json()
    return job


def picture(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(answer.content))
