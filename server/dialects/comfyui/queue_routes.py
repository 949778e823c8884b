"""Serves the queue and the history: reads them, and removes from them.

However much there is, an answer carries about 16 MiB of graphs; the routes' descriptions say what is left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from server.dialects.comfyui.bodies import done, flag, id_list, json_object
from server.dialects.comfyui.history import DIALECT, MOST_BYTES, history_item, in_history, queue_item
from server.dialects.shared.bodies import json_body
from server.job import FINISHED, Job, State
from server.store import Search
from server.web.routing import direct
from server.web.services import Services

MOST = 10_000
"""The most prompts in one answer: as many as ComfyUI remembers."""
_HISTORY = 200
"""The number of prompts in a history without a limit: some clients ask for the whole of it ten times a second."""
_FORGOTTEN_TOGETHER = 50

_Items = Annotated[int, Query(ge=0, le=MOST, description="the most prompts in the answer")]
_Offset = Annotated[
    int, Query(ge=-1, le=2**31, description="how many of the oldest prompts to leave out; -1: all but the newest ones")
]

_SCHEMA = {
    "type": "object",
    "properties": {"clear": {"type": "boolean"}, "delete": {"type": "array", "items": {"type": "string"}}},
}
_EXAMPLE = {"delete": ["5f1b2a77-7d0c-4a1b-9f0e-1c2d3e4f5a6b"]}


def add(router: APIRouter, services: Services) -> None:
    _add_queue(router, services)
    _add_history(router, services)


def _add_queue(router: APIRouter, services: Services) -> None:
    @router.get("/queue")
    async def get_queue() -> JSONResponse:
        """The prompts that run, and those that wait, by priority and then by their age. All of them are there; where
        their graphs have more than about 16 MiB together, the youngest have `{}` for their graph and no `extra_data`
        but `create_time`; `/api/jobs/{id}` has both."""
        jobs = await _in_queue(services)
        running = [job for job in jobs if job.state == "running"]
        waiting = sorted((job for job in jobs if job.state == "queued"), key=lambda job: (-job.priority, job.sequence))
        return JSONResponse(
            {
                "queue_running": [queue_item(job) for job in running],
                "queue_pending": [queue_item(job) for job in waiting],
            }
        )

    @direct(router, "POST", "/queue", openapi_extra=json_body(_SCHEMA, required=False, example=_EXAMPLE))
    async def post_queue(http: Request) -> JSONResponse:
        """Take prompts out of the queue: those of `delete`; with `clear`, all of the caller's."""
        for id in await _named(services, http, {"queued"}):
            await services.jobs.cancel(id)
        return done()


def _add_history(router: APIRouter, services: Services) -> None:
    @router.get("/history")
    async def get_history(max_items: _Items = _HISTORY, offset: _Offset = -1) -> JSONResponse:
        """Prompts that are done, the oldest first: the newest 200 where nothing else is asked for. Fewer than
        `max_items` where their graphs would have more than about 16 MiB: without an offset the oldest are left out,
        with one the newest. `X-Total-Count` says how many there are."""
        newest = offset < 0
        search = Search(
            states=FINISHED,
            dialects=DIALECT,
            started=True,
            newest_first=newest,
            limit=max_items,
            offset=0 if newest else offset,
            most_bytes=MOST_BYTES,
        )
        found = await services.jobs.find(search)
        items = {job.id: history_item(job) for job in (reversed(found.jobs) if newest else found.jobs)}
        return JSONResponse(items, headers={"X-Total-Count": str(found.total)})

    @router.get("/history/{prompt_id}")
    async def get_history_of(prompt_id: str) -> JSONResponse:
        """One prompt that is done; empty where there is none of that id, or it is not done."""
        job = await services.jobs.get(prompt_id)
        known = job is not None and job.dialect in DIALECT and in_history(job)
        return JSONResponse({job.id: history_item(job)} if job is not None and known else {})

    @direct(router, "POST", "/history", openapi_extra=json_body(_SCHEMA, required=False, example=_EXAMPLE))
    async def post_history(http: Request) -> JSONResponse:
        """Forget prompts that are done, with their pictures: those of `delete`; with `clear`, all of the caller's."""
        ids = await _named(services, http, FINISHED)
        for start in range(0, len(ids), _FORGOTTEN_TOGETHER):
            await services.jobs.forget(ids[start : start + _FORGOTTEN_TOGETHER])
        return done()


async def _named(services: Services, http: Request, states: Collection[State]) -> list[str]:
    """Return the ids of the prompts in one of ``states`` that a body of ``clear`` and ``delete`` names."""
    body = await json_object(http)
    found: list[str] = []
    if named := set(id_list(body, "delete")):
        there = await services.jobs.find(Search(states=states, dialects=DIALECT, ids=named, most_bytes=0))
        found += there.ids
    if flag(body, "clear"):
        client = services.client_of(http)
        there = await services.jobs.find(
            Search(states=states, dialects=DIALECT, client=client, newest_first=False, most_bytes=0)
        )
        found += there.ids
    return found


async def _in_queue(services: Services) -> list[Job]:
    """Return all prompts that are not done, in the order of acceptance; the youngest without their graphs if need
    be."""
    waiting = Search(states=("queued", "running"), dialects=DIALECT, newest_first=False, most_bytes=MOST_BYTES)
    found = await services.jobs.find(waiting)
    rest = found.ids[len(found.jobs) :]
    if not rest:
        return found.jobs
    graphless = await services.jobs.find(Search(ids=rest, newest_first=False, leave_out=("prompt", "extra_data")))
    return found.jobs + graphless.jobs
