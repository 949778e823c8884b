"""Serves ``/api/jobs``: prompts in all their states, whatever became of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from server.dialects.comfyui.bodies import id_list, json_object
from server.dialects.comfyui.history import DIALECT, MOST_BYTES, STATUSES, job_item
from server.dialects.shared.bodies import json_body
from server.job import State
from server.problems import bad_request
from server.store import Search
from server.web.routing import direct
from server.web.services import Services

_SORTS = ("created_at", "execution_duration")
_ORDERS = ("desc", "asc")
_SCHEMA = {
    "type": "object",
    "required": ["job_ids"],
    "properties": {"job_ids": {"type": "array", "items": {"type": "string"}}},
}
_EXAMPLE = {"job_ids": ["5f1b2a77-7d0c-4a1b-9f0e-1c2d3e4f5a6b"]}

_Status = Annotated[str, Query(description=f"several with commas between them: {', '.join(STATUSES)}")]
_Sort = Annotated[str, Query(description=" or ".join(_SORTS))]
_Order = Annotated[str, Query(description=" or ".join(_ORDERS))]
_Limit = Annotated[int, Query(ge=1, le=1000)]
_Offset = Annotated[int, Query(ge=0, le=2**31)]
_WorkflowId = Annotated[str | None, Query(description="of the editor's file that the prompt came from")]


def add(router: APIRouter, services: Services) -> None:
    _add_looking(router, services)
    _add_cancelling(router, services)


def _add_looking(router: APIRouter, services: Services) -> None:
    @router.get("/jobs")
    async def list_jobs(
        status: _Status = "",
        workflow_id: _WorkflowId = None,
        sort_by: _Sort = _SORTS[0],
        sort_order: _Order = _ORDERS[0],
        limit: _Limit = 200,
        offset: _Offset = 0,
    ) -> JSONResponse:
        """Prompts, the newest first. A page ends before its limit where its graphs would have more than about 16 MiB;
        `has_more` says so, and the next one starts after those that it has."""
        found = await services.jobs.find(
            Search(
                states=_states(status),
                dialects=DIALECT,
                label=workflow_id,
                by_duration=_choice("sort_by", sort_by, _SORTS) == "execution_duration",
                newest_first=_choice("sort_order", sort_order, _ORDERS) == "desc",
                limit=limit,
                offset=offset,
                most_bytes=MOST_BYTES,
            )
        )
        more = offset + len(found.jobs) < found.total
        page = {"offset": offset, "limit": limit, "total": found.total, "has_more": more}
        return JSONResponse({"jobs": [job_item(job) for job in found.jobs], "pagination": page})

    @router.get("/jobs/{job_id}")
    async def get_job(job_id: str) -> JSONResponse:
        """One prompt with its outputs and its graph."""
        job = await services.jobs.get(job_id)
        if job is None or job.dialect not in DIALECT:
            return JSONResponse({"error": f"there is no job {job_id!r}"}, status_code=404)
        return JSONResponse(job_item(job, detailed=True))


def _add_cancelling(router: APIRouter, services: Services) -> None:
    @router.post("/jobs/{job_id}/cancel")
    async def cancel_job(job_id: str) -> JSONResponse:
        """Stop a prompt, whether it waits or runs; says whether there was something to stop."""
        return JSONResponse({"cancelled": await _cancel(services, job_id)})

    @direct(router, "POST", "/jobs/cancel", openapi_extra=json_body(_SCHEMA, required=False, example=_EXAMPLE))
    async def cancel_jobs(http: Request) -> JSONResponse:
        """Stop several prompts; says whether there was something to stop."""
        body = await json_object(http)
        if body.get("job_ids") is None:
            raise bad_request("job_ids", None, "a list of ids")
        stopped = [await _cancel(services, id) for id in id_list(body, "job_ids")]
        return JSONResponse({"cancelled": any(stopped)})


async def _cancel(services: Services, id: str) -> bool:
    job = await services.jobs.get(id)
    if job is None or job.dialect not in DIALECT or job.done:
        return False
    after = await services.jobs.cancel(id)
    return after is not None and (after.cancel_requested or after.state == "cancelled")


def _states(status: str) -> set[State] | None:
    words = [word.strip().lower() for word in status.split(",") if word.strip()]
    for word in words:
        if word not in STATUSES:
            raise bad_request("status", word, f"one or more of {', '.join(STATUSES)}")
    return {STATUSES[word] for word in words} or None


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value.lower() not in allowed:
        raise bad_request(name, value, f"one of {', '.join(allowed)}")
    return value.lower()
