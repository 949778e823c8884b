"""The AUTOMATIC1111 dialect as the server sees it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from server.dialects.dialect import Dialect
from server.dialects.sdapi.answer import json_response
from server.dialects.sdapi.calls import Calls
from server.dialects.sdapi.extras import add_extras
from server.dialects.sdapi.files_routes import add_files
from server.dialects.sdapi.generating import add_generating
from server.dialects.sdapi.listings import add_listings, add_models
from server.dialects.sdapi.options import Options
from server.dialects.sdapi.options_routes import add_options
from server.dialects.sdapi.png_info import add_png_info
from server.dialects.sdapi.progress import add_progress, add_stopping
from server.job import Job
from server.problems import Problem
from server.web.services import Services


def create_router(services: Services) -> APIRouter:
    """Make the routes below ``/sdapi/v1``, ``/internal`` and ``/controlnet``."""
    router = APIRouter(tags=["AUTOMATIC1111"])
    options, calls = Options(services.backend, services.settings.sdapi_pictures), Calls(services.jobs)
    add_generating(router, services, options, calls)
    add_options(router, options)
    add_progress(router, services, calls)
    add_stopping(router, services, calls)
    add_listings(router, services)
    add_files(router, services)
    add_extras(router, services)
    add_models(router, services, options)
    add_png_info(router)
    return router


def owns(path: str) -> bool:
    """Own all paths under ``/sdapi``, ``/internal`` and ``/controlnet``."""
    return path.startswith(("/sdapi/", "/internal/", "/controlnet/"))


def error_response(problem: Problem) -> Response:
    """Write ``problem`` as AUTOMATIC1111's clients read it: a fault in a field as FastAPI's list, the rest as text."""
    in_a_field = problem.field is not None and problem.status in (400, 422)
    entries = [{"loc": ["body", field], "msg": detail, "type": problem.kind} for field, detail in problem.parts]
    detail: Any = entries if in_a_field else problem.detail
    status = 422 if in_a_field else problem.status
    response = json_response({"error": problem.kind, "detail": detail, "body": "", "errors": problem.detail}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="stable-diffusion"'  # the only scheme of its clients
    return response


def png_texts(job: Job, number: int) -> dict[str, str] | None:
    """Write AUTOMATIC1111's line of a picture whose workflow is more than a request, for which the server has none."""
    infotexts = job.extra.get("infotexts")
    return {"parameters": infotexts[number]} if infotexts and job.tasks[number].request is None else None


DIALECT = Dialect(
    name="sdapi", create_router=create_router, owns=owns, error_response=error_response, png_texts=png_texts
)
