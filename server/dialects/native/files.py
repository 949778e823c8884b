"""Reads the files that callers send: ComfyUI workflows in either form, and pictures that carry one. Knows no job."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request

from engine import BadRequest, GenerationRequest, Workflow
from engine.formats.comfyui import read_replaced, request_of
from engine.formats.infotext import request_from_infotext
from engine.formats.png import wanted_from_png
from server.pictures.formats import user_comment

WORKFLOW_PART = "workflow"
"""The part of a form that is the file."""

_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = (b"\xff\xd8\xff", b"RIFF")
"""The first bytes of JPEGs and of WebPs."""


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
        """The file's graph in ComfyUI's API form, or that of a request for AUTOMATIC1111's own picture, if any."""
        if isinstance(self.wanted, Workflow):
            return self.wanted.to_comfyui()
        own = self.wanted.a1111 is not None and self.wanted.seed is not None
        return self.wanted.workflow().to_comfyui() if own else None


async def read_file(http: Request, part: bytes | None = None, *, replaced: Collection[str] = ()) -> File:
    """Return the file that is a call's body, or a part of it. A thread reads it, because a file may be large.

    The parameters in ``replaced``, which the caller gives beside the file, need not be readable in it. Raises
    ``BadRequest`` for what is no workflow, or asks for what the engine does not have.
    """
    body = await http.body() if part is None else part
    stated = part is None and http.headers.get("content-type", "").lower().startswith("image/")
    return await asyncio.to_thread(_read, body, body.startswith(_PNG) or stated, replaced)


def _read(body: bytes, is_picture: bool, replaced: Collection[str]) -> File:
    if body.startswith(_OTHERS):
        return File(source="picture", wanted=_from_comment(body, replaced))
    wanted = wanted_from_png(body, "body", replaced) if is_picture else read_replaced(body, replaced)
    return File(source="picture" if is_picture else "workflow", wanted=wanted)


def _from_comment(body: bytes, replaced: Collection[str]) -> GenerationRequest:
    """Return the request in the AUTOMATIC1111 line of a JPEG or a WebP."""
    try:
        line = user_comment(body)
    except ValueError:
        line = None
    if line is None:
        raise BadRequest("body", "a picture", "one with its parameters inside, as AUTOMATIC1111's and this server's")
    return request_from_infotext(line, replaced)
