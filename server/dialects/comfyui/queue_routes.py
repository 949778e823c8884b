"""The queue and the history: looking at them, and removing from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from server.dialects.comfyui.bodies import body_of, done, flag, id_list, json_object
from server.dialects.comfyui.history import DIALECT, history_item, in_history, queue_item
from server.job import FINISHED, Job, State
from server.services import Services

MOST = 10_000
"""Prompts in one answer: as many as ComfyUI remembers."""
_HISTORY = 200
"""Prompts in a history that nobody limited: some clients ask for the whole of it ten times a second."""
_PAGE = 500

_Items = Annotated[int, Query(ge=0, le=MOST, description="at most so many prompts")]
_Offset = Annotated[int, Query(ge=-1, le=2**31, description="leave out so many of the oldest; -1: the newest ones")]

_SCHEMA = {
    "type": "object",
    "properties": {"clear": {"type": "boolean"}, "delete": {"type": "array", "items": {"type": "string"}}},
}
_EXAMPLE = {"delete": ["5f1b2a77-7d0c-4a1b-9f0e-1c2d3e4f5a6b"]}


def add(router: APIRouter, services: Services) -> None:
    @router.get("/queue")
    async def get_queue() -> JSONResponse:
        """The prompts that run, and those that wait in the order in which they will probably begin."""
        running = [job async for job in _prompts(services, {"running"}, newest_first=False)]
        queued = [job async for job in _prompts(services, {"queued"}, newest_first=False)]
        waiting = sorted(queued, key=lambda job: (-job.priority, job.sequence))
        return JSONResponse(
            {
                "queue_running": [queue_item(job) for job in running],
                "queue_pending": [queue_item(job) for job in waiting],
            }
        )

    @router.post("/queue", openapi_extra=body_of(_SCHEMA, _EXAMPLE))
    async def post_queue(http: Request) -> JSONResponse:
        """Take prompts out of the queue: those of `delete`; with `clear`, all of the caller's."""
        for job in await _named(services, http, {"queued"}):
            await services.jobs.cancel(job.id)
        return done()

    @router.get("/history")
    async def get_history(max_items: _Items = _HISTORY, offset: _Offset = -1) -> JSONResponse:
        """Prompts that are done, the oldest first: the newest 200 where nothing else is asked for."""
        return JSONResponse({job.id: history_item(job) for job in await _history(services, max_items, offset)})

    @router.get("/history/{prompt_id}")
    async def get_history_of(prompt_id: str) -> JSONResponse:
        """One prompt that is done; empty where there is none of that id, or it is not done."""
        job = await services.jobs.get(prompt_id)
        known = job is not None and job.dialect in DIALECT and in_history(job)
        return JSONResponse({job.id: history_item(job)} if job is not None and known else {})

    @router.post("/history", openapi_extra=body_of(_SCHEMA, _EXAMPLE))
    async def post_history(http: Request) -> JSONResponse:
        """Forget prompts that are done, with their pictures: those of `delete`; with `clear`, all of the caller's."""
        jobs = await _named(services, http, FINISHED)
        await services.jobs.forget([job.id for job in jobs])
        return done()


async def _named(services: Services, http: Request, states: Collection[State]) -> list[Job]:
    """The prompts in one of ``states`` that a body of ``clear`` and ``delete`` names."""
    body = await json_object(http)
    found: list[Job] = []
    if ids := id_list(body, "delete"):
        found += await services.jobs.find(states=states, dialects=DIALECT, ids=ids, limit=len(ids))
    if flag(body, "clear"):
        client = services.client_of(http)
        found += [job async for job in _prompts(services, states, newest_first=False) if job.client == client]
    return found


async def _history(services: Services, most: int, offset: int) -> list[Job]:
    newest = offset < 0
    skip = 0 if newest else offset
    found: list[Job] = []
    if most:
        async for job in _prompts(services, FINISHED, newest_first=newest):
            if not in_history(job):
                continue
            if skip:
                skip -= 1
                continue
            found.append(job)
            if len(found) == most:
                break
    return found[::-1] if newest else found


async def _prompts(services: Services, states: Collection[State], *, newest_first: bool) -> AsyncIterator[Job]:
    """All prompts in one of ``states``, read in pages."""
    offset = 0
    while page := await services.jobs.find(
        states=states, dialects=DIALECT, limit=_PAGE, offset=offset, newest_first=newest_first
    ):
        for job in page:
            yield job
        offset += len(page)
