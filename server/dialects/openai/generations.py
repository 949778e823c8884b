"""``POST /v1/images/generations``, answered whole or as a stream; and OpenAI's routes that are not supported here."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from engine import EngineError
from server.dialects.openai.answers import ImagesAnswer, completed_json, images_json, partial_json
from server.dialects.openai.body import Call, read_call, schema
from server.dialects.openai.errors import error_json, errors
from server.dialects.shared.bodies import json_body, json_object
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key, job_headers
from server.dialects.shared.reader import worded
from server.dialects.shared.seeds import in_a_row
from server.dialects.shared.streams import JobStream, with_heartbeats
from server.dialects.shared.waiting import ensure_succeeded
from server.job import Job, NewJob
from server.problems import Problem
from server.queue.events import Event
from server.web.errors import problem_of_error
from server.web.routing import direct
from server.web.services import Services

log = logging.getLogger(__name__)

_EXAMPLE = {"prompt": "a purple galaxy bottle", "size": "512x512", "n": 1, "steps": 20}
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
        openapi_extra={**json_body(schema(), example=_EXAMPLE), "parameters": JOB_HEADERS},
    )
    async def generate(http: Request) -> Response:
        """A caller who hangs up, or closes the stream, cancels the job, unless it has an idempotency key."""
        body = await json_object(http)
        call = read_call(body, services.backend.models())
        with worded(call.words):
            job = await services.jobs.accept(_new_job(services, http, call, body))
        headers = job_headers(services, http, job)
        if call.controls.stream:
            stream = JobStream(services, job, _stream(services, job, call))
            stream.headers.update(headers)
            return stream
        job = await services.wait_connected(http, job)
        ensure_succeeded(job)
        answer = await images_json(services, job, call, services.access.base_url(http))
        return JSONResponse(answer, headers=headers)

    @router.post("/images/edits", include_in_schema=False)
    async def edit() -> None:
        raise _missing("edits", "changing a given picture")

    @router.post("/images/variations", include_in_schema=False)
    async def vary() -> None:
        raise _missing("variations", "making variations of a given picture")


def _new_job(services: Services, http: Request, call: Call, body: dict[str, Any]) -> NewJob:
    return NewJob(
        wanted=in_a_row(call.request, call.controls.n),
        dialect="openai",
        client=services.client_of(http),
        id=chosen_job_id(http),
        idempotency_key=idempotency_key(http),
        asked=body,
        extra={"user": call.user} if call.user else {},
    )


def _missing(name: str, what: str) -> Problem:
    detail = f"/v1/images/{name}: {what} is not supported; /v1/images/generations makes pictures from text"
    return Problem(status=400, kind="unsupported", title="Not supported", detail=detail)


async def _stream(services: Services, job: Job, call: Call) -> AsyncGenerator[bytes, None]:
    """Yield partial pictures, evenly over the steps, then the whole one; or an error in the form of OpenAI's."""
    partials = _Partials(call.controls.partial_images)
    try:
        async for event in with_heartbeats(services.jobs.events(job.id)):
            if event is None:
                yield KEEPALIVE_COMMENT
            elif event.kind == "finished":
                job = event.job
            elif event.preview is not None and (index := partials.due(event)) is not None:
                yield _message(await partial_json(event.preview, call, index))
        ensure_succeeded(job)
        yield _message(await completed_json(services, job, call))
    except Exception as error:  # the status has been sent, so that only the stream can hold the error
        if not isinstance(error, Problem | EngineError):
            log.exception("the events of job %s could not be sent", job.id)
        yield _message({"type": "error", "error": error_json(problem_of_error(error))})


class _Partials:
    """Chooses ``count`` previews to send: when the share of steps passes 1/(count + 1), 2/(count + 1), …"""

    def __init__(self, count: int) -> None:
        self._count = count
        self._passed = 0
        self._sent = 0

    def due(self, event: Event) -> int | None:
        """Return the index of the preview in ``event``, or None if it is not to be sent."""
        passed = min(event.step * (self._count + 1) // (event.steps or event.step + 1), self._count)
        if passed <= self._passed:
            return None
        self._passed, self._sent = passed, self._sent + 1
        return self._sent - 1


def _message(event: dict[str, Any]) -> bytes:
    return format_sse_event(event=event["type"], data_str=json.dumps(event))
