"""OpenAI's Images API under ``/v1``: ``images/generations``, also streamed, and ``models``.

A call with nothing but a prompt gets a fresh seed and the engine's defaults for the rest, the negative prompt included.
Pictures come as base64 unless ``response_format`` is ``url``, as OpenAI's own image models answer. OpenAI's model names
are not ours: a name that is not in the models folder is refused with those that are.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.dialects.openai import generations, models
from server.dialects.openai.errors import error_json
from server.problems import Problem
from server.web.routing import DirectRoute
from server.web.services import Services

NAME = "openai"

_OTHERS = ("predictions", "deployments", "account", "hardware", "collections", "trainings", "files", "webhooks")
"""What the Replicate dialect has under ``/v1``."""

_RETRY = frozenset({408, 429, 502, 503, 504})
"""The statuses after which the same call may go better. OpenAI's clients would also repeat 409 and 500, which mean a
cancelled or a failed job here: the same again."""


def create_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=DirectRoute)
    generations.add_routes(router, services)
    models.add_routes(router, services)
    return router


def owns(path: str) -> bool:
    """All under ``/v1`` but what is Replicate's: its own nouns, and ``models/{owner}/{name}``."""
    parts = path.split("/")
    if parts[:2] != ["", "v1"] or len(parts) < 3:
        return False
    return len(parts) <= 4 if parts[2] == "models" else parts[2] not in _OTHERS


def error_response(problem: Problem) -> JSONResponse:
    headers = {"x-should-retry": "true" if problem.status in _RETRY else "false"} if problem.status >= 400 else {}
    return JSONResponse({"error": error_json(problem)}, problem.status, {**problem.headers, **headers})
