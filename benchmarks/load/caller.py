"""One client of the server: it sends a call's HTTP requests and checks the pictures that come back."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.load.calls import Call


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {_kind(text)}".strip())
        self.status = status


class JobCancelled(Exception):
    """The job was cancelled."""


class WrongAnswer(Exception):
    """The server's answer is not what the call asked for."""


@dataclass(eq=False)
class Caller:
    """One client of the server."""

    http: httpx.AsyncClient
    model: str
    """Name of the default checkpoint, which callers of Replicate's dialect must send."""
    file: str
    """File of the default checkpoint, which callers of ComfyUI's dialect must send."""
    fetches: bool
    """Whether it downloads the pictures whose URLs it receives."""

    async def ask(self, method: str, path: str, call: Call, **named: Any) -> httpx.Response:
        """Send one HTTP request of the call. Raises ``Refused`` for an error status."""
        headers = named.pop("headers", {}) | ({"Idempotency-Key": call.key} if call.key else {})
        answer = await self.http.request(method, path, headers=headers, **named)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.text)
        return answer

    async def see(self, call: Call, urls: list[str]) -> None:
        """Download the pictures at ``urls`` and check them. Raises ``WrongAnswer``."""
        if len(urls) != call.made:
            raise WrongAnswer(f"{call.dialect}: {len(urls)} pictures instead of {call.made}")
        for url in urls if self.fetches else ():
            check(call, (await self.ask("GET", url, call)).content)


@dataclass(eq=False)
class CallState:
    """What is known of a call on its way."""

    accepted: bool | None = None
    """Whether the server accepted it; None if that is not known."""


def check(call: Call, picture: bytes) -> None:
    """Raise ``WrongAnswer`` unless ``picture`` is a PNG of the size that the call asked for."""
    size = struct.unpack(">II", picture[16:24]) if picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 24 else None
    if size != (call.request.width, call.request.height):
        raise WrongAnswer(f"{call.dialect}: {len(picture)} bytes are not a PNG of the size that the call asked for")


def _kind(text: str) -> str:
    """Find the kind of error in an answer's body, whichever dialect it is in; at most 60 characters."""
    try:
        body = json.loads(text)
    except ValueError:
        return text[:60]
    for name in ("kind", "code", "type", "title", "error", "detail"):
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, dict):
            return _kind(json.dumps(value))
        if isinstance(value, str) and value:
            return value[:60]
    return text[:60]
