"""Every error → a ``Problem`` → an answer in the words of the dialect that owns the path. This is the only place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from engine import BadRequest, EngineError
from server.dialects.dialect import Dialect
from server.pictures.storage import NotRead
from server.problems import Mistake, Problem, problem_of
from server.store import StoreFailed
from server.web.middleware import Answer
from server.web.routing import allowed_methods

log = logging.getLogger(__name__)

_SHOULD_BE = "Input should be "
"""How pydantic begins what is allowed."""


def answer_with(dialects: Sequence[Dialect]) -> Answer:
    """Return what answers a problem on a path: the first of ``dialects`` that owns the path words it."""

    def answer(path: str, problem: Problem) -> Response:
        dialect = next(each for each in dialects if each.owns(path))
        response = dialect.error_response(_writable(problem))
        for name, value in problem.headers.items():
            response.headers.setdefault(name, value)
        return response

    return answer


def _writable(problem: Problem) -> Problem:
    """Escape halves of surrogate pairs in ``problem``: a caller's JSON may hold them, an answer cannot."""
    problem.detail = _escaped(problem.detail)
    problem.field = None if problem.field is None else _escaped(problem.field)
    problem.mistakes = tuple(
        Mistake(**{name: _escaped(value) for name, value in vars(each).items()}) for each in problem.mistakes
    )
    return problem


def _escaped(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def add_error_handlers(app: FastAPI, answer: Answer) -> None:
    """Make ``app`` answer each error that a route raises."""

    async def handle(connection: HTTPConnection, error: Exception) -> Response | None:
        problem = problem_of_error(error)
        if isinstance(connection, WebSocket):
            if connection.application_state != WebSocketState.DISCONNECTED:
                await connection.close(1008 if problem.status < 500 else 1011, problem.kind)
            return None
        if problem.status == 405:
            problem.headers = {**problem.headers, "Allow": allowed_methods(connection.scope)}
        return answer(connection.scope["path"], problem)

    for kind in (Problem, EngineError, StoreFailed, NotRead, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)  # type: ignore[arg-type]  # answers requests and websockets alike


def problem_of_error(error: Exception) -> Problem:
    """Return the problem that the caller gets for an error that a route raised."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, EngineError):
        return problem_of(error)
    if isinstance(error, StoreFailed):
        return Problem(status=503, kind="database", title="Database error", detail=str(error))
    if isinstance(error, NotRead):
        log.error("%s", error, exc_info=error.__cause__)
        return Problem(status=503, kind="storage_failed", title="Storage failed", detail=str(error))
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _http_problem(error)
    return Problem(
        status=500,
        kind="internal",
        title="Internal error",
        detail="an internal error of the server; its log has the details",
    )


def _invalid(error: RequestValidationError) -> Problem:
    """Word the errors that pydantic found as the engine words its own."""
    return problem_of(BadRequest.together([_mistake(each) for each in error.errors()]))


def _mistake(found: Mapping[str, Any]) -> BadRequest:
    place = ".".join(str(part) for part in found["loc"] if part not in ("body", "query", "path", "header"))
    if found["type"] == "json_invalid":
        reason = found.get("ctx", {}).get("error", "")
        return BadRequest("body", "text that is not JSON", f"a JSON object ({reason} at {place})")
    if found["type"] == "missing":
        return BadRequest(place or "body", None, "a value; it is required")
    message = str(found["msg"]).removeprefix("Value error, ")
    allowed = message.removeprefix(_SHOULD_BE).partition(", unable to")[0]
    number = "a number " if allowed.startswith(("greater", "less")) else ""
    return BadRequest(place or "body", found.get("input"), number + allowed[0].lower() + allowed[1:])


def _http_problem(error: HTTPException) -> Problem:
    status = error.status_code
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    kinds = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 401: "unauthorized"}
    kind = kinds.get(status, "bad_request" if status < 500 else "internal")
    return Problem(
        status=status, kind=kind, title=title.capitalize(), detail=str(error.detail), headers=dict(error.headers or {})
    )
