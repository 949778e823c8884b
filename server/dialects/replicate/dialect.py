"""The Replicate dialect as the server sees it.

A checkpoint NAME is the model ``local/NAME``, and NAME is its one version. Every route is under ``/replicate/v1`` too,
where ``models`` is Replicate's list of models: ``/v1/models`` is OpenAI's.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.dialect import Dialect
from server.dialects.replicate import files, models, predictions
from server.dialects.replicate.prediction import webhook_body
from server.problems import Problem
from server.web.services import Services

_NOUNS = ("predictions", "deployments", "account", "hardware", "collections", "trainings", "files", "webhooks")
_TITLES = {"unauthorized": "Unauthenticated", "bad_request": "Input validation failed"}


def create_router(services: Services) -> APIRouter:
    """Make the routes below ``/v1`` and, left out of the OpenAPI document, those below ``/replicate/v1``."""
    router = APIRouter(tags=["Replicate"])
    for prefix, shown in (("/v1", True), ("/replicate/v1", False)):
        part = APIRouter(prefix=prefix, include_in_schema=shown, tags=["Replicate"])
        predictions.add_routes(part, services)
        models.add_routes(part, services)
        files.add_routes(part, services)
        router.routes += part.routes  # one flat list: each request would search a nested router several times
    models.add_list(router, services)
    return router


def owns(path: str) -> bool:
    """Own all paths under ``/replicate``, and under ``/v1`` Replicate's nouns and ``models/{owner}/{name}``."""
    parts = path.split("/")
    if parts[1:2] == ["replicate"]:
        return True
    if parts[:2] != ["", "v1"] or len(parts) < 3:
        return False
    return parts[2] in _NOUNS or (parts[2] == "models" and len(parts) > 4)


def error_response(problem: Problem) -> JSONResponse:
    """Write ``problem`` as Replicate's clients read it."""
    content = {
        "title": _TITLES.get(problem.kind, problem.title),
        "detail": problem.detail,
        "status": problem.status,
        "type": f"urn:problem:{problem.kind}",
        "invalid_fields": [
            {"field": field, "description": detail} for field, detail in problem.parts if field is not None
        ],
    }
    return JSONResponse(content, problem.status)


DIALECT = Dialect(
    name="replicate",
    create_router=create_router,
    owns=owns,
    error_response=error_response,
    webhook_body=webhook_body,
)
