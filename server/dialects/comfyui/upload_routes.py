"""Takes pictures, and masks for pictures that are here already."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile

from engine import BadRequest
from engine.formats.json_text import read_json
from server.dialects.comfyui import uploads
from server.dialects.shared.forms import ensure_whole
from server.problems import bad_request
from server.web.routing import direct
from server.web.services import Services

_TRUE = ("true", "1")
_FIELDS: dict[str, Any] = {
    "image": {"type": "string", "format": "binary"},
    "type": {"type": "string", "enum": list(uploads.FOLDERS), "default": "input"},
    "subfolder": {"type": "string"},
    "overwrite": {"type": "string", "description": "`true`: in place of another picture of that name"},
}
_ORIGINAL = {"type": "string", "description": "JSON: `filename`, `subfolder` and `type` of the picture"}


def _form(**more: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": ["image", *more], "properties": _FIELDS | more}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def add(router: APIRouter, services: Services) -> None:
    @direct(router, "POST", "/upload/image", openapi_extra=_form())
    async def upload_image(http: Request) -> JSONResponse:
        """Hand in a picture, for `LoadImage`. Another picture under a name that is taken becomes `name (1).png`."""
        await ensure_whole(http)
        async with http.form(max_files=1) as form:
            file = _file(form)
            return await _keep(services, http, form, await file.read())

    @direct(router, "POST", "/upload/mask", openapi_extra=_form(original_ref=_ORIGINAL))
    async def upload_mask(http: Request) -> JSONResponse:
        """Hand in a mask, whose alpha becomes that of the picture `original_ref`; the result is what is kept."""
        await ensure_whole(http)
        async with http.form(max_files=1) as form:
            file = _file(form)
            reference = form.get("original_ref") or form.get("originalRef")  # as comfy-ui-client writes it
            original = await _original(services, services.client_of(http), reference)
            masked = await asyncio.to_thread(_masked, original, await file.read())
            return await _keep(services, http, form, masked)


async def _keep(services: Services, http: Request, form: FormData, data: bytes) -> JSONResponse:
    client, folder = services.client_of(http), str(form.get("type") or "input")
    if folder not in uploads.FOLDERS:
        raise bad_request("type", folder, f"one of {', '.join(uploads.FOLDERS)}")
    subfolder, filename = str(form.get("subfolder") or ""), _file(form).filename or ""
    path = uploads.path_of(filename, subfolder)
    if not filename or path is None:
        raise bad_request("image", f"{subfolder}/{filename}"[:200], "a file with a name, in a folder below the inputs'")
    new = await services.inputs.keep(data, client, field="image")
    try:
        if str(form.get("overwrite") or "").lower() not in _TRUE:
            path = uploads.free_name(await services.inputs.named(client), folder, path, new)
        await services.inputs.name(new, client, f"{folder}/{path}")
    finally:
        await services.inputs.forget_call([new])
    below, _, name = path.rpartition("/")
    return JSONResponse({"name": name, "subfolder": below, "type": folder})


def _file(form: FormData) -> UploadFile:
    file = form.get("image")
    if not isinstance(file, UploadFile):
        raise bad_request("image", file, "a picture's file, in a multipart form")
    return file


async def _original(services: Services, client: str, reference: object) -> bytes:
    """Return the picture that a mask is for. Raises ``Problem`` and ``BadRequest``."""
    try:
        described = read_json(str(reference or ""))
    except ValueError:
        described = None
    filename = described.get("filename") if isinstance(described, dict) else None
    if not isinstance(described, dict) or not isinstance(filename, str) or not filename:
        raise bad_request("original_ref", reference, "JSON with filename, subfolder and type of a picture")
    folder, name = uploads.split(filename, str(described.get("type") or "output"))
    path = uploads.path_of(name, str(described.get("subfolder") or ""))
    found = await uploads.find(services, client, folder, path or filename, "original_ref")
    try:
        return await services.inputs.read(found)
    finally:
        await services.inputs.forget_call([found])


def _masked(original: bytes, mask: bytes) -> bytes:
    """Return the picture, upright, as a PNG with the mask's alpha for its own, and the texts that it had."""
    from PIL import Image, PngImagePlugin

    from engine.pictures.inputs import read_input

    try:
        drawn = read_input("", [{"": mask}])
    except BadRequest as error:
        raise bad_request("image", "the mask", error.allowed) from None
    picture = read_input("", [{"": original}])
    height, width = picture.pixels.shape[1:3]
    if drawn.pixels.shape[1:3] != (height, width):
        given = f"{drawn.pixels.shape[2]}×{drawn.pixels.shape[1]}"
        raise bad_request("image", given, f"a mask of {width}×{height}, the picture's size")
    painted = Image.fromarray(picture.pixels[0]).convert("RGBA")
    painted.putalpha(Image.fromarray(drawn.alpha[0]) if drawn.alpha is not None else 255)
    kept = PngImagePlugin.PngInfo()
    with Image.open(io.BytesIO(original)) as file:
        for keyword, text in getattr(file, "text", {}).items():
            kept.add_text(keyword, text)
    written = io.BytesIO()
    painted.save(written, "PNG", compress_level=4, pnginfo=kept)
    return written.getvalue()
