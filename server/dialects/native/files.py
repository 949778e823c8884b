"""Reads the files that callers send: ComfyUI workflows in either form, and PNGs that carry one. Knows no job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request

from engine import BadRequest, GenerationRequest, Workflow
from engine.formats.comfyui import request_of
from engine.formats.png import wanted_from_png

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class File:
    """What a file asks for."""

    source: Literal["workflow", "picture"]
    wanted: GenerationRequest | Workflow
    """The workflow in it; a request where the file is a PNG that has AUTOMATIC1111's line alone."""

    @property
    def request(self) -> GenerationRequest | None:
        """The request that says the same; None if there is none, because the workflow is more than one request."""
        if isinstance(self.wanted, GenerationRequest):
            return self.wanted
        try:
            return request_of(self.wanted)
        except BadRequest:
            return None

    @property
    def graph(self) -> dict[str, Any] | None:
        """The file's graph in ComfyUI's API form; None if it has none."""
        return self.wanted.to_comfyui() if isinstance(self.wanted, Workflow) else None


async def read_file(http: Request) -> File:
    """Return the file that is a call's body. A thread reads it, because a file may be large.

    Raises ``BadRequest`` for what is no workflow, or asks for what the engine does not have.
    """
    body = await http.body()
    is_picture = body.startswith(_PNG) or http.headers.get("content-type", "").lower().startswith("image/")
    return await asyncio.to_thread(_read, body, is_picture)


def _read(body: bytes, is_picture: bool) -> File:
    wanted = wanted_from_png(body, "body") if is_picture else Workflow.from_comfyui(body)
    return File(source="picture" if is_picture else "workflow", wanted=wanted)
