"""What calls of several dialects have in common: a JSON body, a job's id and key, its end, its events with heartbeats.

Knows no dialect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from engine import BadRequest
from engine.formats.comfyui import parse_json
from server.job import JOB_ID, JOB_ID_RULE, Job
from server.problems import Problem, problem_of_failure
from server.queue.events import Event
from server.web.services import Services

HEARTBEAT = 15.0
"""Seconds without an event after which a stream says that it is alive."""

HEADERS: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "a repeated call with the same key gets the job that the first one got",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    {
        "name": "X-Job-Id",
        "in": "header",
        "description": "the job's id, of your choice: follow or cancel it under /api/v1/jobs while you wait",
        "schema": {"type": "string", "pattern": f"^{JOB_ID.pattern}$"},
    },
]
"""What ``idempotency_key`` and ``chosen_id`` read, as the OpenAPI document tells it."""


async def json_object(http: Request) -> dict[str, Any]:
    """The body. Raises ``BadRequest`` for anything but a JSON object."""
    parsed = parse_json("body", await http.body())
    if not isinstance(parsed, dict):
        raise BadRequest("body", parsed, "a JSON object")
    return parsed


def idempotency_key(http: Request) -> str | None:
    """The Idempotency-Key header."""
    key = http.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= 255 and key.isprintable()):
        raise BadRequest("Idempotency-Key", key, "1 to 255 printable characters")
    return key


def chosen_id(http: Request) -> str | None:
    """The X-Job-Id header: a caller who has to wait for the answer can follow, and cancel, the job of this id under
    ``/api/v1/jobs`` meanwhile."""
    id = http.headers.get("x-job-id")
    if id is not None and not JOB_ID.fullmatch(id):
        raise BadRequest("X-Job-Id", id, JOB_ID_RULE)
    return id


def job_headers(services: Services, http: Request, job: Job) -> dict[str, str]:
    """Which job it is, and where the native API tells about it."""
    return {"X-Job-Id": job.id, "Location": f"{services.access.base_url(http)}/api/v1/jobs/{job.id}"}


def ensure_succeeded(job: Job) -> None:
    """Raises a ``Problem`` for a job that came to another end, or to none."""
    if job.state == "succeeded":
        return
    headers = {"X-Job-Id": job.id}
    if job.failure is not None:
        problem = problem_of_failure(job.failure)
        problem.headers = headers
        raise problem
    if job.state == "cancelled":
        detail = f"job {job.id} was cancelled"
        raise Problem(status=409, kind="cancelled", title="Cancelled", detail=detail, headers=headers)
    detail = f"job {job.id} is {job.state}; the server has stopped waiting for it, and carries it out none the less"
    raise Problem(status=503, kind="shutting_down", title="Shutting down", detail=detail, headers=headers)


async def read_picture(services: Services, name: str) -> bytes:
    """The PNG. Raises a ``Problem`` where somebody removed it since, or the storage fails."""
    try:
        return await services.outputs.read(name)
    except KeyError:
        raise Problem(status=410, kind="gone", title="Gone", detail=f"the picture {name} is no longer kept") from None
    except OSError as error:
        detail = f"the picture {name} cannot be read ({error.strerror or error})"
        raise Problem(status=503, kind="storage_failed", title="The storage fails", detail=detail) from None


async def with_heartbeats(events: AsyncIterator[Event]) -> AsyncIterator[Event | None]:
    """``events``, with None whenever nothing happened for a while."""
    coming: asyncio.Task[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(events))
            await asyncio.wait({coming}, timeout=HEARTBEAT)
            if not coming.done():
                yield None
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


async def _next(events: AsyncIterator[Event]) -> Event:
    return await anext(events)


class JobStream(StreamingResponse):
    """A streamed answer about ``job``, which is cancelled if the caller closes it before its end: not if the job has an
    idempotency key or the server is closing, as in ``Services.wait_connected``."""

    def __init__(self, services: Services, job: Job, parts: AsyncGenerator[bytes, None]) -> None:
        self._services, self._job, self._parts = services, job, parts
        self._ended = False
        super().__init__(self._until_end(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _until_end(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            yield part
        self._ended = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._parts.aclose()
                if not self._ended and self._job.idempotency_key is None and not self._services.closing:
                    await self._services.jobs.cancel(self._job.id)
