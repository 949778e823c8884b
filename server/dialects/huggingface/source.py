"""Tells the two ways of Hugging Face's clients apart: ``inputs`` that is a prompt, and one that is a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from server.dialects.shared.bodies import json_object

_PICTURE = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
"""The first bytes of the formats that clients send."""

_TEXT = re.compile(r"\s*(data:|iVBORw0KGgo|/9j/|_9j_|R0lGOD|UklGR|[0-9a-f]{64}\Z)")
"""The first characters of such a file in base64, a data: URL, and an input's id."""


async def body_of(http: Request) -> dict[str, Any]:
    """Return the body as a JSON object; a picture's file alone is the ``inputs`` of one."""
    data = await http.body()
    if data.startswith(_PICTURE) or http.headers.get("content-type", "").lower().startswith("image/"):
        return {"inputs": data}
    return await json_object(http)


def is_picture(inputs: object, parameters: Mapping[str, Any]) -> bool:
    """Return whether ``inputs`` is a picture: its bytes, or text that is no prompt, as a picture's own prompt says."""
    if isinstance(inputs, bytes):
        return True
    return isinstance(inputs, str) and (parameters.get("prompt") is not None or bool(_TEXT.match(inputs)))
