"""Files that Replicate's client uploads before it names them in an input, by their URLs: pictures, kept as inputs."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from engine import BadRequest
from server.dialects.replicate.errors import errors
from server.dialects.shared.forms import form_values
from server.inputs.input import Input
from server.pictures.formats import media_type
from server.problems import not_found
from server.web.routing import direct
from server.web.services import Services

_ID = re.compile(r"[0-9a-f]{64}")
_FORM = {
    "type": "object",
    "title": "File",
    "required": ["content"],
    "properties": {"content": {"type": "string", "format": "binary"}, "metadata": {"type": "string"}},
}
_BODY = {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}


class UploadedFile(BaseModel):
    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: dict[str, Any]
    created_at: str
    expires_at: None
    urls: dict[str, str]


class FilesAnswer(BaseModel):
    previous: None
    next: None
    results: list[UploadedFile]


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""
    described: dict[int | str, dict[str, Any]] = {
        201: {"model": UploadedFile},
        **errors(400, 401, 403, 413, 429, 503, 507),
    }

    @direct(router, "POST", "/files", status_code=201, responses=described, openapi_extra={"requestBody": _BODY})
    async def upload(http: Request) -> JSONResponse:
        """Keeps a picture; an input takes the answer's `urls.get`. Its `metadata` has no effect."""
        form = await form_values(http, most_bytes=services.settings.max_body_bytes)
        content, owner = form.get("content"), services.client_of(http)
        if not isinstance(content, bytes):
            raise BadRequest("content", content, "a picture's file; it is required")
        kept = await services.inputs.keep(content, owner, field="content", owner=owner)
        return JSONResponse(await _described(services, http, kept), 201)

    @direct(router, "GET", "/files", responses={200: {"model": FilesAnswer}, **errors(401, 403, 503, 507)})
    async def list_files(http: Request) -> JSONResponse:
        """Your files."""
        kept = await services.inputs.named(services.client_of(http))
        results = [await _described(services, http, each) for name, each in kept.items() if name == each.id]
        return JSONResponse({"previous": None, "next": None, "results": results})

    @router.get(
        "/files/{id}", responses={200: {"model": UploadedFile}, **errors(401, 403, 404, 503, 507)}, response_model=None
    )
    async def get_file(http: Request, id: str) -> JSONResponse:
        """One file."""
        found = await services.inputs.find([id])
        if id not in found:
            raise not_found("file", id[:80])
        return JSONResponse(await _described(services, http, found[id]))

    @router.delete(
        "/files/{id}",
        status_code=204,
        responses={204: {"description": "it is no longer kept"}, **errors(401, 403, 404, 503, 507)},
        response_model=None,
    )
    async def delete_file(http: Request, id: str) -> Response:
        """Lets go of a file. It stays as long as a prediction has it."""
        if not _ID.fullmatch(id) or not await services.inputs.release(services.client_of(http), id):
            raise not_found("file", id[:80])
        return Response(status_code=204)


async def _described(services: Services, http: Request, kept: Input) -> dict[str, Any]:
    kind = await media_type(await services.inputs.read(kept))
    return {
        "id": kept.id,
        "name": f"{kept.id[:16]}.{kind.partition('/')[2]}",
        "content_type": kind,
        "size": kept.bytes,
        "etag": kept.id,
        "checksums": {"sha256": kept.id},
        "metadata": {},
        "created_at": datetime.fromtimestamp(kept.created, timezone.utc).isoformat(),
        "expires_at": None,
        "urls": {"get": f"{services.access.base_url(http)}/v1/files/{kept.id}"},
    }
