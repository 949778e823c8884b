"""``progress``, ``interrupt``, ``skip`` and ``/internal/progress``: they report the progress of a call, or stop it.

Each may name the call by ``id_task`` (its ``force_task_id``); without one, the caller's latest call is meant.
"""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from server.dialects.sdapi.calls import Call, Calls
from server.dialects.shared.bodies import body_as, json_body
from server.pictures.formats import preview_bytes
from server.queue.events import Event
from server.queue.jobs import Jobs
from server.web.routing import direct
from server.web.services import Services

_STARTED = 0.01
"""The least progress of a running job, as in AUTOMATIC1111, where 0 means that no job runs."""


class ProgressQuestion(BaseModel):
    """The body of ``POST /internal/progress``."""

    id_task: str | None = Field(None, description="the force_task_id of a call; null: the caller's latest call")
    id_live_preview: int | None = Field(-1, description="the preview that the caller has already; it is not sent again")
    live_preview: bool | None = Field(True, description="whether a preview is wanted")


def add_progress(router: APIRouter, services: Services, calls: Calls) -> None:
    """Add the routes that report."""

    @router.get("/sdapi/v1/progress", summary="Progress of the caller's job")
    async def progress(http: Request, skip_current_image: bool = False, id_task: str | None = None) -> dict[str, Any]:
        call = calls.asked_for(services.client_of(http), id_task)
        return await _progress(call, calls, with_image=not skip_current_image)

    described = json_body(ProgressQuestion.model_json_schema())

    @direct(router, "POST", "/internal/progress", summary="Progress of a call by its task id", openapi_extra=described)
    async def internal_progress(http: Request) -> JSONResponse:
        question = await body_as(ProgressQuestion, http)
        client = services.client_of(http)
        call = calls.asked_for(client, question.id_task)
        event = None if call is None else calls.standing(call)
        if call is not None and event is not None:
            return JSONResponse(await _internal_progress(call, event, question, services.jobs))
        task = question.id_task
        return JSONResponse(_unknown() | {"completed": task is not None and calls.has_finished(client, task)})

    @router.get("/internal/pending-tasks", summary="List the caller's queued jobs")
    async def pending_tasks(http: Request) -> dict[str, Any]:
        tasks = [call.task for call in calls.of(services.client_of(http)) if not calls.running(call)]
        return {"size": len(tasks), "tasks": tasks}

    @router.get("/internal/ping", summary="Say that the server is there")
    async def ping() -> dict[str, Any]:
        return {}


def add_stopping(router: APIRouter, services: Services, calls: Calls) -> None:
    """Add the routes that stop a call."""

    @router.post("/sdapi/v1/interrupt", summary="End the caller's job; its call gets the pictures that are done")
    async def interrupt(http: Request, id_task: str | None = None) -> dict[str, Any]:
        call = calls.asked_for(services.client_of(http), id_task)
        if call is not None:
            await services.jobs.interrupt(call.job.id)
        return {}

    @router.post("/sdapi/v1/skip", summary="Give up the pictures under way; as interrupt if no others wait")
    async def skip(http: Request, id_task: str | None = None) -> None:
        call = calls.asked_for(services.client_of(http), id_task)
        if call is not None:
            await services.jobs.skip(call.job.id)


async def _progress(call: Call | None, calls: Calls, *, with_image: bool) -> dict[str, Any]:
    event = None if call is None else calls.standing(call)
    if call is None or event is None:
        return {"progress": 0.0, "eta_relative": 0.0, "state": _idle(), "current_image": None, "textinfo": None}
    seen = call.preview.preview if call.preview is not None and with_image else None
    return {
        "progress": _share(event),
        "eta_relative": _seconds_left(event) or 0.0,
        "state": _state(event, call.name),
        "current_image": None if seen is None else base64.b64encode(await preview_bytes(seen, "png")).decode(),
        "textinfo": None if event.job.state == "running" else "Waiting...",
    }


async def _internal_progress(call: Call, event: Event, question: ProgressQuestion, jobs: Jobs) -> dict[str, Any]:
    if event.job.state == "queued":
        place = await jobs.place(event.job)
        ahead = "Waiting..." if place is None else f"In queue: {place.ahead} before it"
        return _unknown() | {"queued": True, "textinfo": ahead}
    found = {"active": True, "progress": _share(event), "eta": _seconds_left(event), "textinfo": None}
    return _unknown() | found | await _live_preview(call, question)


def _unknown() -> dict[str, Any]:
    """Return the answer of ``/internal/progress`` for an unknown task."""
    return {
        "active": False,
        "queued": False,
        "completed": False,
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": -1,
        "textinfo": "Waiting...",
    }


async def _live_preview(call: Call, question: ProgressQuestion) -> dict[str, Any]:
    seen = call.preview
    if seen is None or seen.preview is None or not question.live_preview:
        return {}
    if seen.number == question.id_live_preview:
        return {"id_live_preview": seen.number}
    data = base64.b64encode(await preview_bytes(seen.preview, "jpeg")).decode()
    return {"live_preview": f"data:image/jpeg;base64,{data}", "id_live_preview": seen.number}


def _share(event: Event) -> float:
    return max(_STARTED, min(event.progress, 1.0)) if event.job.state == "running" else 0.0


def _seconds_left(event: Event) -> float | None:
    """Estimate the remaining time from the share that is done; None where nothing is done yet."""
    started = event.job.started
    if started is None or event.progress <= 0:
        return None
    elapsed = max(0.0, time.time() - started)
    return elapsed / event.progress - elapsed


def _state(event: Event, name: str) -> dict[str, Any]:
    """Write AUTOMATIC1111's ``state``. It counts batches as jobs; here each picture counts as one."""
    job, count = event.job, len(event.job.tasks)
    started = time.strftime("%Y%m%d%H%M%S", time.localtime(job.started or job.created))
    return _idle() | {
        "interrupted": job.interrupted or job.cancel_requested,
        "job": name,
        "job_count": count,
        "job_timestamp": started,
        "job_no": min(int(event.progress * count), count - 1),
        "sampling_step": event.step,
        "sampling_steps": event.steps or job.tasks[event.request].steps,
    }


def _idle() -> dict[str, Any]:
    return {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
