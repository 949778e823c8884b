"""Replicate's API under ``/v1``: predictions, with webhooks and streams, and the models that they run on.

A checkpoint NAME is the model ``local/NAME``, and NAME is its one version. Everything is under ``/replicate/v1`` too,
where the list of models is Replicate's: ``/v1/models`` is OpenAI's.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.replicate import models, predictions
from server.dialects.replicate.prediction import webhook_body
from server.problems import Problem
from server.web.routing import DirectRoute
from server.web.services import Services

__all__ = ["NAME", "create_router", "error_response", "owns", "webhook_body"]

NAME = "replicate"

_NOUNS = ("predictions", "deployments", "account", "hardware", "collections", "trainings", "files", "webhooks")
_TITLES = {"unauthorized": "Unauthenticated", "bad_request": "Input validation failed"}


def create_router(services: Services) -> APIRouter:
    router = APIRouter(tags=["Replicate"], route_class=DirectRoute)
    for prefix, shown in (("/v1", True), ("/replicate/v1", False)):
        part = APIRouter(prefix=prefix, include_in_schema=shown, tags=["Replicate"], route_class=DirectRoute)
        predictions.add_routes(part, services)
        models.add_routes(part, services)
        router.routes += part.routes  # flat: a router within a router is gone through several times for each request
    models.add_list(router, services)
    return router


def owns(path: str) -> bool:
    """All under ``/replicate``, and under ``/v1`` Replicate's own nouns and ``models/{owner}/{name}``."""
    parts = path.split("/")
    if parts[1:2] == ["replicate"]:
        return True
    return (
        parts[:2] == ["", "v1"] and len(parts) > 2 and (parts[2] in _NOUNS or (parts[2] == "models" and len(parts) > 4))
    )


def error_response(problem: Problem) -> JSONResponse:
    content = {
        "title": _TITLES.get(problem.kind, problem.title),
        "detail": problem.detail,
        "status": problem.status,
        "type": f"urn:problem:{problem.kind}",
        "invalid_fields": [{"field": problem.field, "description": problem.detail}] if problem.field else [],
    }
    return JSONResponse(content, problem.status, dict(problem.headers))
