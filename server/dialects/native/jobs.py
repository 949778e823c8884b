"""Jobs: listed, followed by their events, and cancelled."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from engine import BadRequest
from server.dialects.native.answers import JobAnswer, JobsAnswer, image_json, job_json
from server.dialects.native.describe import problems
from server.dialects.shared.headers import LAST_EVENT_ID, last_event_id
from server.dialects.shared.streams import EventStream, with_heartbeats
from server.job import Job, State
from server.pictures.formats import preview_bytes
from server.problems import not_found
from server.queue.events import Event, Kind, nothing_follows
from server.queue.refusals import storage_failed
from server.settings import DIALECTS
from server.store import Search
from server.web.services import Services

_STATES = get_args(State)
_DIALECTS = ("native", *DIALECTS)
_UNSHOWN = ("prompt", "extra_data", "input")
"""What other dialects keep with a job. It may be large, and no answer shows it."""

_JOB: dict[int | str, dict[str, Any]] = {200: {"model": JobAnswer}, **problems(400, 401, 403, 404)}
_DELETED: dict[int | str, dict[str, Any]] = {**_JOB, **problems(503, 507)}
_SHOWN = 200
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "for Last-Event-ID"},
        "event": {"type": "string", "enum": list(get_args(Kind))},
        "data": {
            "type": "string",
            "description": "JSON: step, steps, stage, progress; the images of an output; the job at its end",
        },
    },
}
_STREAM = {"text/event-stream": {"schema": _EVENT}}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""
    _add_looking(router, services)
    _add_cancelling(router, services)
    _add_deleting(router, services)
    _add_following(router, services)


def _add_looking(router: APIRouter, services: Services) -> None:
    @router.get("/jobs", responses={200: {"model": JobsAnswer}, **problems(400, 401, 403)}, response_model=None)
    async def list_jobs(
        http: Request,
        state: Annotated[str | None, Query(description="one of the states, or several separated by commas")] = None,
        dialect: Annotated[str | None, Query(description="one of the dialects, or several separated by commas")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        order: Annotated[Literal["newest", "oldest"], Query()] = "newest",
        query: Annotated[
            str, Query(max_length=200, description="words that the prompts, the model or the sampler contain")
        ] = "",
        created_from: Annotated[float | None, Query(description="Unix time of the earliest acceptance")] = None,
        created_before: Annotated[float | None, Query(description="Unix time before which they were accepted")] = None,
    ) -> JSONResponse:
        """The jobs of all callers in the order of their acceptance."""
        states, dialects = _some("state", state, _STATES), _some("dialect", dialect, _DIALECTS)
        newest = order == "newest"
        search = Search(
            states=states,
            dialects=dialects,
            words=query.split(),
            created_from=created_from,
            created_before=created_before,
            newest_first=newest,
            limit=limit,
            offset=offset,
        )
        found = await services.jobs.find(dataclasses.replace(search, leave_out=_UNSHOWN))
        all_jobs = await services.jobs.find(Search(limit=0))
        places, base_url = await services.jobs.places(found.jobs), services.access.base_url(http)
        listed = [job_json(job, base_url, places[job.id], services.jobs.latest(job.id)) for job in found.jobs]
        return JSONResponse({"jobs": listed, "total": found.total, "counts": all_jobs.counts})

    @router.get("/jobs/{job_id}", responses=_JOB, response_model=None)
    async def get_job(http: Request, job_id: str) -> JSONResponse:
        """One job: its place in the queue and its progress, its pictures, or why it failed."""
        job = await services.jobs.get(job_id)
        if job is None:
            raise not_found("job", job_id)
        return JSONResponse(await _answer(services, http, job))


def _add_cancelling(router: APIRouter, services: Services) -> None:
    @router.post("/jobs/{job_id}/cancel", responses=_JOB, response_model=None)
    async def cancel_job(
        http: Request,
        job_id: str,
        keep: Annotated[bool, Query(description="end it with the pictures that are done, if there are any")] = False,
    ) -> JSONResponse:
        """Cancel a job: at once while it waits, within a step while it runs. A job that is done stays as it is."""
        job = await (services.jobs.interrupt(job_id) if keep else services.jobs.cancel(job_id))
        if job is None:
            raise not_found("job", job_id)
        return JSONResponse(await _answer(services, http, job))


def _add_deleting(router: APIRouter, services: Services) -> None:
    @router.delete("/jobs/{job_id}", responses=_DELETED, response_model=None)
    async def delete_job(http: Request, job_id: str) -> JSONResponse:
        """Delete a job that is done, with its pictures: `deleted` is true in the answer. One that waits or runs is
        cancelled, as by `cancel`, and stays in the list."""
        job = await services.jobs.get(job_id)
        if job is None:
            raise not_found("job", job_id)
        if not job.done:
            job = await services.jobs.cancel(job_id) or job
            return JSONResponse(await _answer(services, http, job))
        if not await services.jobs.forget([job_id]) and await services.jobs.get(job_id) is not None:
            raise storage_failed(OSError("a picture cannot be removed"))
        gone = dataclasses.replace(job, pictures=())
        return JSONResponse(await _answer(services, http, gone) | {"deleted": True})

    @router.delete("/jobs/{job_id}/images/{name}", responses=_DELETED, response_model=None)
    async def delete_picture(http: Request, job_id: str, name: str) -> JSONResponse:
        """Delete one picture of a job that is done. The job goes with its last picture: `deleted` is true then."""
        job = await services.jobs.drop_picture(job_id, name)
        if job is None:
            raise not_found("picture", name[:_SHOWN])
        return JSONResponse(await _answer(services, http, job) | {"deleted": not job.pictures})


def _add_following(router: APIRouter, services: Services) -> None:
    @router.get(
        "/jobs/{job_id}/events",
        responses={
            200: {"description": "server-sent events", "content": _STREAM},
            204: {"description": "no event followed that one, and none will"},
            **problems(400, 401, 403, 404),
        },
        response_model=None,
        openapi_extra={"parameters": [LAST_EVENT_ID]},
    )
    async def job_events(
        http: Request,
        job_id: str,
        previews: Annotated[bool, Query(description="send rough pictures on the way too, as base64 JPEG")] = False,
    ) -> Response:
        """A job's events until its end: `queued`, `started`, `progress`, `preview`, `output` and `finished`; the first
        one shows its present state. `output` carries the `images` of a request, or of an output of a workflow, as soon
        as they are there; `finished` carries the whole job. 204 after `finished`, so that browsers stop asking."""
        after = last_event_id(http)
        job = await services.jobs.get(job_id)
        if job is None:
            raise not_found("job", job_id)
        if nothing_follows(job, after):
            return Response(status_code=204)
        events = services.jobs.events(job_id, after)
        stream = _stream(services, services.access.base_url(http), events, previews)
        return EventStream(stream)


async def _answer(services: Services, http: Request, job: Job) -> dict[str, Any]:
    place = None if job.done else await services.jobs.place(job)
    return job_json(job, services.access.base_url(http), place, services.jobs.latest(job.id))


def _some(name: str, text: str | None, known: tuple[str, ...]) -> list[Any] | None:
    """Split a comma-separated list into its different parts. Raises ``BadRequest`` for a part that is not known."""
    if text is None:
        return None
    parts = {part.strip(): None for part in text.split(",")}
    for part in parts:
        if part not in known:
            raise BadRequest(name, part, f"some of {', '.join(known)}, separated by commas")
    return list(parts)


async def _stream(
    services: Services, base_url: str, events: AsyncIterator[Event], previews: bool
) -> AsyncIterator[bytes]:
    """Write the events as they are sent, with comments while nothing happens."""
    async for event in with_heartbeats(events):
        if event is None:
            yield KEEPALIVE_COMMENT
        elif event.kind != "preview" or previews:
            yield await _message(services, base_url, event)


async def _message(services: Services, base_url: str, event: Event) -> bytes:
    job = event.job
    content: dict[str, Any] = {
        "kind": event.kind,
        "job_id": job.id,
        "state": job.state,
        "request": event.request,
        "stage": event.stage,
        "step": event.step,
        "steps": event.steps,
        "progress": event.progress,
    }
    if event.kind in ("queued", "finished"):
        place = None if job.done else await services.jobs.place(job)
        content |= {"place": job_json(job, base_url, place)["place"], "job": job_json(job, base_url, place)}
    if event.kind == "output":
        content["images"] = [image_json(picture, base_url) for picture in event.pictures]
    if event.preview is not None:
        content["preview"] = base64.b64encode(await preview_bytes(event.preview, format="jpeg")).decode()
    return format_sse_event(event=event.kind, data_str=json.dumps(content), id=str(event.number))
