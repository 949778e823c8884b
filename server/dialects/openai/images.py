"""``POST /v1/images/generations``, ``edits`` and ``variations``: answered whole, or as a stream."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from server.dialects.openai.answers import ImagesAnswer, images_json
from server.dialects.openai.body import Call, Kind, read_call, schema
from server.dialects.openai.controls import READER
from server.dialects.openai.errors import errors
from server.dialects.openai.stream import stream
from server.dialects.shared.bodies import json_body, json_object
from server.dialects.shared.forms import form_values, is_form
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key, job_headers
from server.dialects.shared.pictures import CallPictures
from server.dialects.shared.reader import worded
from server.dialects.shared.seeds import in_a_row
from server.dialects.shared.streams import JobStream
from server.dialects.shared.waiting import ensure_succeeded
from server.job import NewJob
from server.web.routing import direct
from server.web.services import Services

_MADE = {"prompt": "a purple galaxy bottle", "size": "512x512", "n": 1, "steps": 20}
_PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGPUiDrBQApgIkn1qIZRDUNKAwAjuAFqLUgYkgAAAABJ"
    "RU5ErkJggg=="
)
_EDITED = {"prompt": "a blue bottle", "images": [{"image_url": _PICTURE}], "strength": 0.6, "steps": 20}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ImagesAnswer,
        "description": "the pictures; with stream, the events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **errors(400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503, 507),
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add the routes to ``router``."""

    @direct(
        router,
        "POST",
        "/images/generations",
        responses=_ANSWERS,
        summary="Make pictures",
        openapi_extra={**json_body(schema("generation"), example=_MADE), "parameters": JOB_HEADERS},
    )
    async def generate(http: Request) -> Response:
        """A caller who hangs up, or closes the stream, cancels the job, unless it has an idempotency key."""
        return await _carry_out("generation", services, http)

    @direct(
        router,
        "POST",
        "/images/edits",
        responses=_ANSWERS,
        summary="Change a picture",
        openapi_extra={**_form_body("edit", _EDITED), "parameters": JOB_HEADERS},
    )
    async def edit(http: Request) -> Response:
        """Starts from the image, and paints anew what is transparent in the mask, or else in the image. Without
        transparency it changes the whole picture, as far as `strength` says."""
        return await _carry_out("edit", services, http)

    @direct(
        router,
        "POST",
        "/images/variations",
        responses=_ANSWERS,
        summary="Make variations of a picture",
        openapi_extra={**_form_body("variation", {"image": _PICTURE, "n": 2}), "parameters": JOB_HEADERS},
    )
    async def vary(http: Request) -> Response:
        """Starts from the image, without a prompt unless there is one, at a `strength` of 0.6."""
        return await _carry_out("variation", services, http)


async def _carry_out(kind: Kind, services: Services, http: Request) -> Response:
    body = await _body(services, http)
    async with CallPictures(services, http) as pictures:
        call = await read_call(kind, body, services, pictures)
        with worded(call.words):
            job = await services.jobs.accept(_new_job(services, http, call, pictures))
    headers = job_headers(services, http, job)
    if call.controls.stream:
        answered = JobStream(services, job, stream(services, job, call))
        answered.headers.update(headers)
        return answered
    job = await services.wait_connected(http, job)
    ensure_succeeded(job)
    return JSONResponse(await images_json(services, job, call, services.access.base_url(http)), headers=headers)


async def _body(services: Services, http: Request) -> dict[str, Any]:
    if is_form(http):
        return READER.from_form(await form_values(http, most_bytes=services.settings.max_body_bytes))
    return await json_object(http)


def _new_job(services: Services, http: Request, call: Call, pictures: CallPictures) -> NewJob:
    return NewJob(
        wanted=in_a_row(call.request, call.controls.n),
        dialect="openai",
        client=services.client_of(http),
        id=chosen_job_id(http),
        idempotency_key=idempotency_key(http),
        asked=call.asked if call.kind == "generation" else [call.kind, call.asked],
        inputs=pictures.inputs,
        extra={"user": call.user} if call.user else {},
    )


def _form_body(kind: Kind, example: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that is a form or JSON, for OpenAPI."""
    described = json_body(schema(kind), example=example)
    file = {"type": "string", "format": "binary"}
    form = {**schema(kind), "properties": {**schema(kind)["properties"], "image": file, "mask": file}}
    described["requestBody"]["content"]["multipart/form-data"] = {"schema": {**form, "title": f"{form['title']}Form"}}
    return described
