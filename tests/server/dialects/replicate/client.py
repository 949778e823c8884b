"""Replicate's client on a test's server."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image
from replicate.client import Client

from tests.server.following import get

OpenClient = Callable[..., Client]


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(get(url).raise_for_status().content))
