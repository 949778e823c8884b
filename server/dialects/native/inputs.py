"""Pictures that callers hand in before they ask for anything: uploaded, looked at, and let go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from engine import BadRequest
from engine.formats.json_text import read_json
from server.dialects.native.answers import InputAnswer
from server.dialects.native.describe import problems
from server.dialects.shared.forms import form_values, is_form
from server.inputs.input import Input
from server.pictures.formats import media_type
from server.problems import not_found
from server.web.routing import direct
from server.web.services import Services

_ID = re.compile(r"[0-9a-f]{64}")
_SHOWN = 80
_BYTES = {"type": "string", "format": "binary"}
_TEXT = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "description": "base64, or a data: URL"}},
    "additionalProperties": False,
}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": _BYTES},
        "application/json": {"schema": _TEXT},
        "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": {"image": _BYTES}}},
    },
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""
    _add_handing_in(router, services)
    _add_looking(router, services)


def _add_handing_in(router: APIRouter, services: Services) -> None:
    @direct(
        router,
        "POST",
        "/inputs",
        responses={201: {"model": InputAnswer}, **problems(400, 401, 403, 413, 429, 503, 507)},
        summary="Hand in a picture",
        status_code=201,
        openapi_extra={"requestBody": _BODY},
    )
    async def hand_in(http: Request) -> Response:
        """The body is the picture's file, a form with the file, or JSON with the picture as text. `image`, `mask` and
        the images of `controls` take the `id` of the answer, which is the file's SHA-256. The picture is kept as long
        as finished jobs are, until you delete it, and longer where a job has it."""
        owner, type = services.client_of(http), http.headers.get("content-type", "").lower()
        picture: bytes | str
        if is_form(http):
            picture, field = _in_form(await form_values(http, most_bytes=services.settings.max_body_bytes)), "image"
        elif type.startswith("application/json"):
            picture, field = _in_json(await http.body()), "image"
        else:
            picture, field = await http.body(), "body"
        if isinstance(picture, str):
            kept = await services.inputs.keep_text(picture, owner, field=field, owner=owner)
        else:
            kept = await services.inputs.keep(picture, owner, field=field, owner=owner)
        answer = _described(kept, services.access.base_url(http))
        return JSONResponse(answer, 201, {"Location": answer["url"]})


def _add_looking(router: APIRouter, services: Services) -> None:
    shown: dict[int | str, dict[str, Any]] = {
        200: {"description": "the file, as it was handed in", "content": {"image/*": {"schema": _BYTES}}},
        **problems(401, 403, 404, 507),
    }

    @router.get("/inputs/{input_id}", responses=shown, response_class=Response, response_model=None)
    async def input_file(input_id: str) -> Response:
        """A picture that was handed in."""
        found = await services.inputs.find([input_id])
        if input_id not in found:
            raise not_found("input", input_id[:_SHOWN])
        data = await services.inputs.read(found[input_id])
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(data, 200, headers, await media_type(data))

    @router.delete(
        "/inputs/{input_id}",
        responses={204: {"description": "it is no longer kept for you"}, **problems(401, 403, 404, 503, 507)},
        status_code=204,
        response_model=None,
    )
    async def delete_input(http: Request, input_id: str) -> Response:
        """Let go of a picture that you handed in. It stays as long as a job has it."""
        if not _ID.fullmatch(input_id) or not await services.inputs.release(services.client_of(http), input_id):
            raise not_found("input", input_id[:_SHOWN])
        return Response(status_code=204)


def _in_form(values: Mapping[str, object]) -> bytes | str:
    """Return the picture that a form has, as a file or as text. Raises ``BadRequest`` for any other form."""
    picture = values.get("image")
    if set(values) != {"image"} or not isinstance(picture, bytes | str):
        raise BadRequest("body", f"a form with {', '.join(values) or 'nothing'}", "a form with one picture, image")
    return picture


def _in_json(body: bytes) -> str:
    """Return the picture that a JSON body has. Raises ``BadRequest`` for any other body."""
    try:
        parsed = read_json(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or set(parsed) != {"image"} or not isinstance(parsed["image"], str):
        raise BadRequest("body", "JSON", "an object with image, a picture in base64 or as a data: URL")
    return str(parsed["image"])


def _described(kept: Input, base_url: str) -> dict[str, Any]:
    size = kept.size
    return {
        "id": kept.id,
        "url": f"{base_url}/api/v1/inputs/{kept.id}",
        "width": size.width,
        "height": size.height,
        "frames": size.pictures,
        "alpha": size.alpha,
        "bytes": kept.bytes,
    }
