"""A ``Problem`` in OpenAI's words: message, type, param and code."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from server.problems import Problem

_CODES = {
    "bad_request": "invalid_value",
    "unsupported": "unsupported_value",
    "unauthorized": "invalid_api_key",
    "unknown_checkpoint": "model_not_found",
    "queue_full": "rate_limit_exceeded",
}
"""The server's kinds of problems → OpenAI's codes. The other kinds keep their names."""


class OpenAIErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(BaseModel):
    """Any error."""

    error: OpenAIErrorBody


def error_json(problem: Problem) -> dict[str, Any]:
    """Write the value of ``error``."""
    if problem.status >= 500:
        kind = "server_error"
    elif problem.status == 429:
        kind = "rate_limit_error"
    else:
        kind = "invalid_request_error"
    code = _CODES.get(problem.kind, problem.kind)
    return {"message": problem.detail, "type": kind, "param": problem.field, "code": code}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the ``responses`` of a route that may answer with ``statuses``."""
    return {status: {"model": OpenAIError} for status in statuses}
