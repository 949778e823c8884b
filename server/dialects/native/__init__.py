"""The native API under ``/api/v1``: every parameter of ``GenerationRequest`` under its own name, jobs and their events.

Translates to and from jobs, and words whatever no other dialect owns.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.native import generate, jobs, models, pictures
from server.dialects.native.answers import job_json
from server.job import Job
from server.problems import Problem
from server.web.routing import DirectRoute
from server.web.services import Services

NAME = "native"


def create_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["Native"], route_class=DirectRoute)
    for part in (generate, jobs, pictures, models):
        part.add_routes(router, services)
    return router


def owns(path: str) -> bool:
    return True


def error_response(problem: Problem) -> JSONResponse:
    """RFC 9457, with the kind for programs and the parameter at fault."""
    content = {
        "type": f"urn:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "kind": problem.kind,
        "field": problem.field,
    }
    return JSONResponse(content, problem.status, dict(problem.headers), media_type="application/problem+json")


def webhook_body(job: Job, moment: str) -> dict[str, Any]:
    """What a webhook says: what happened, and the job as it is told to whoever asks for it."""
    return {"type": f"job.{moment}", **job_json(job, str(job.extra["base_url"]))}
