"""The native dialect as the server sees it. Words the errors of every path that no other dialect owns."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.dialect import Dialect
from server.dialects.native import generate, inputs, jobs, models, pictures, prompts
from server.dialects.native.answers import ProblemAnswer, job_json
from server.job import Job
from server.problems import Problem
from server.web.services import Services


def create_router(services: Services) -> APIRouter:
    """Make the routes below ``/api/v1``."""
    router = APIRouter(prefix="/api/v1", tags=["Native"])
    for part in (generate, inputs, jobs, pictures, models, prompts):
        part.add_routes(router, services)
    return router


def error_response(problem: Problem) -> JSONResponse:
    """Write ``problem`` as RFC 9457 has it, with its kind for programs and the parameter at fault."""
    content = {
        "type": f"urn:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "kind": problem.kind,
        "field": problem.field,
        "errors": [vars(mistake) for mistake in problem.mistakes],
    }
    return JSONResponse(content, problem.status, media_type="application/problem+json")


def webhook_body(job: Job, moment: str) -> dict[str, Any]:
    """Write what happened, and the job as ``GET /api/v1/jobs/{id}`` answers it."""
    return {"type": f"job.{moment}", **job_json(job, str(job.extra["base_url"]))}


DIALECT = Dialect(
    name="native",
    create_router=create_router,
    owns=lambda path: True,
    error_response=error_response,
    always_served=True,
    public_prefixes=("/api/v1/images/",),
    schemas=(ProblemAnswer,),
    webhook_body=webhook_body,
)
