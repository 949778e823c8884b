"""The OpenAI dialect as the server sees it.

A call that holds nothing but a prompt gets a fresh seed and the engine's defaults for the rest, the negative prompt
included. Pictures come as base64 unless ``response_format`` is ``url``, as OpenAI's own image models answer. A model
name that is not in the models folder is refused with the names that are.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.dialect import Dialect
from server.dialects.openai import images, models
from server.dialects.openai.errors import error_json
from server.problems import Problem
from server.web.services import Services

_REPLICATE_NOUNS = frozenset(
    {"predictions", "deployments", "account", "hardware", "collections", "trainings", "files", "webhooks"}
)
"""First parts of paths under ``/v1`` that only Replicate's API has."""

_RETRIED = frozenset({408, 429, 502, 503, 504})
"""The statuses after which the same call may succeed. OpenAI's clients would also repeat 409 and 500, which mean a
cancelled or a failed job here: the same call would fail again."""


def create_router(services: Services) -> APIRouter:
    """Make the routes below ``/v1``."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    images.add_routes(router, services)
    models.add_routes(router, services)
    return router


def owns(path: str) -> bool:
    """Own all paths under ``/v1`` but Replicate's: its nouns, and ``models/{owner}/{name}``."""
    parts = path.split("/")
    if parts[:2] != ["", "v1"] or len(parts) < 3:
        return False
    return len(parts) <= 4 if parts[2] == "models" else parts[2] not in _REPLICATE_NOUNS


def error_response(problem: Problem) -> JSONResponse:
    """Write ``problem`` as OpenAI's clients read it, and say whether they should try again."""
    headers = {"x-should-retry": "true" if problem.status in _RETRIED else "false"} if problem.status >= 400 else {}
    return JSONResponse({"error": error_json(problem)}, problem.status, headers)


DIALECT = Dialect(name="openai", create_router=create_router, owns=owns, error_response=error_response)
