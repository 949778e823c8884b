"""OpenAI's client on a test's server."""

from __future__ import annotations

import base64
import io
from typing import Any

from openai import OpenAI
from PIL import Image

from tests.server.conftest import RunningServer


def client_of(server: RunningServer, **settings: Any) -> OpenAI:
    """Return a client that checks each answer against its own types."""
    defaults = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True}
    return OpenAI(base_url=f"{server.url}/v1", **(defaults | settings))


def picture(encoded: str | None) -> Image.Image:
    assert encoded is not None
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    image.load()
    return image
