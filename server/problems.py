"""``Problem``: every answer other than success, mapped to HTTP once. Each dialect words it in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from engine import BadRequest, BrokenCheckpoint, EngineClosed, EngineError, OutOfMemory, UnknownCheckpoint
from server.job import Failure


@dataclass(eq=False, kw_only=True)
class Problem(Exception):
    """An answer other than success. Raise it anywhere below a route; the dialect that owns the path words it."""

    status: int
    """The HTTP status, 400 … 599."""
    kind: str
    """One word for programs: ``bad_request``, ``not_found``, ``queue_full``, ``unauthorized``, …"""
    title: str
    """The kind in words, the same each time."""
    detail: str
    """This case in words. It names the field, the value and what is allowed."""
    field: str | None = None
    """The parameter at fault."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail


def bad_request(field: str, value: object, allowed: str) -> Problem:
    """Return a 400: ``field`` holds ``value``, and only ``allowed`` is accepted there."""
    return problem_of(BadRequest(field, value, allowed))


def not_found(what: str, name: str) -> Problem:
    """Return a 404: there is no ``what`` called ``name``."""
    return Problem(status=404, kind="not_found", title="Not found", detail=f"there is no {what} {name!r}")


def unsupported(field: str, value: object, instead: str) -> Problem:
    """Return a 400: ``field`` is known, and ``value`` would change the picture in a way that this engine cannot."""
    problem = bad_request(field, value, f"{instead}; this would change the picture and is not supported")
    problem.kind = "unsupported"
    return problem


def problem_of(error: EngineError) -> Problem:
    """Return the engine's error as an answer."""
    if isinstance(error, UnknownCheckpoint):
        kind, status, title = "unknown_checkpoint", 404, "Unknown checkpoint"
    elif isinstance(error, BadRequest):
        kind, status, title = "bad_request", 400, "Bad request"
    elif isinstance(error, BrokenCheckpoint):
        kind, status, title = "broken_checkpoint", 422, "Broken checkpoint"
    elif isinstance(error, EngineClosed):
        kind, status, title = "shutting_down", 503, "Shutting down"
    elif isinstance(error, OutOfMemory):
        kind, status, title = "out_of_memory", 507, "Out of memory"
    else:
        kind, status, title = "generation_failed", 500, "Generation failed"
    at = error.field if isinstance(error, BadRequest) else None
    return Problem(status=status, kind=kind, title=title, detail=str(error), field=at)


def failure_of(error: EngineError) -> Failure:
    """Return the engine's error as a job's row keeps it."""
    problem = problem_of(error)
    return Failure(kind=problem.kind, message=problem.detail, field=problem.field)


def problem_of_failure(failure: Failure) -> Problem:
    """Return the answer to a call that waited for a job that failed with ``failure``."""
    status = {"bad_request": 400, "unknown_checkpoint": 404, "broken_checkpoint": 422, "out_of_memory": 507}
    return Problem(
        status=status.get(failure.kind, 500),
        kind=failure.kind,
        title=failure.kind.replace("_", " ").capitalize(),
        detail=failure.message,
        field=failure.field,
    )
