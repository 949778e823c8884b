"""``Problem``: every answer other than success, mapped to HTTP once. Each dialect words it in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import BadRequest, BrokenCheckpoint, EngineClosed, EngineError, OutOfMemory, UnknownCheckpoint
from engine.errors import MOST_SAID
from server.job import Failure

_SHOWN = 200
"""The most characters of a text that is repeated whole."""

_EXACT = 2**53
"""JavaScript's numbers hold whole numbers below this."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One value of a call that is not allowed."""

    field: str
    value: Any
    """The value, as JSON; text in its place where it is long or is no JSON."""
    allowed: str
    detail: str
    """All of it in words."""

    @staticmethod
    def of(error: BadRequest) -> Mistake:
        """Return the first mistake of ``error``."""
        value = error.value if _is_repeated(error.value) else error.shown
        return Mistake(field=error.field, value=value, allowed=error.allowed, detail=error.alone)

    def renamed(self, field: str) -> Mistake:
        """Return the mistake with another word for its field."""
        return dataclasses.replace(self, field=field, detail=field + self.detail.removeprefix(self.field))


def _is_repeated(value: object) -> bool:
    """Whether an answer repeats a value as it is: JavaScript reads it, and it is short."""
    if isinstance(value, int | float):
        return abs(value) < _EXACT  # NaN is not
    return value is None or (isinstance(value, str) and len(value) <= _SHOWN)


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
    mistakes: tuple[Mistake, ...] = ()
    """Each mistake of the caller's that ``detail`` says; empty where a parameter is not at fault."""

    def __str__(self) -> str:
        return self.detail

    @property
    def parts(self) -> Sequence[tuple[str | None, str]]:
        """The field and the text of each mistake; of the whole problem where there is no list of them."""
        return [(each.field, each.detail) for each in self.mistakes] or [(self.field, self.detail)]

    def renamed(self, name_of: Callable[[str], str]) -> Problem:
        """Return the problem with what ``name_of`` calls the fields of its mistakes."""
        if self.field is None:
            return self
        mistakes = tuple(each.renamed(name_of(each.field)) for each in self.mistakes)
        field = name_of(self.field)
        detail = all_said(mistakes) if len(mistakes) > 1 else field + self.detail.removeprefix(self.field)
        return dataclasses.replace(self, field=field, detail=detail, mistakes=mistakes)


def bad_request(field: str, value: object, allowed: str) -> Problem:
    """Return a 400: ``field`` holds ``value``, and only ``allowed`` is accepted there."""
    return problem_of(BadRequest(field, value, allowed))


def together(problems: Sequence[Problem]) -> Problem:
    """Return the first problem, which names the mistakes of the others too. There must be one."""
    first, *others = problems
    mistakes = tuple(dict.fromkeys(mistake for each in problems for mistake in each.mistakes))
    return dataclasses.replace(first, detail=all_said(mistakes), mistakes=mistakes) if others else first


def all_said(mistakes: Sequence[Mistake]) -> str:
    """Return the text of the first ``MOST_SAID`` mistakes."""
    more = f"; and {len(mistakes) - MOST_SAID} more" if len(mistakes) > MOST_SAID else ""
    return "; and ".join(each.detail for each in mistakes[:MOST_SAID]) + more


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
    if isinstance(error, BrokenCheckpoint):
        detail = str(error.without_folder)
        return Problem(status=status, kind=kind, title=title, detail=detail, field=error.field)
    if not isinstance(error, BadRequest):
        return Problem(status=status, kind=kind, title=title, detail=str(error))
    mistakes = tuple(map(Mistake.of, error.all))
    return Problem(status=status, kind=kind, title=title, detail=str(error), field=error.field, mistakes=mistakes)


def failure_of(error: EngineError) -> Failure:
    """Return the engine's error as a job's row keeps it."""
    problem = problem_of(error)
    return Failure(kind=problem.kind, message=problem.detail, field=problem.field)


def problem_of_failure(failure: Failure) -> Problem:
    """Return the answer to a call that waited for a job that failed with ``failure``."""
    status = {
        "bad_request": 400,
        "unknown_checkpoint": 404,
        "not_found": 404,
        "broken_checkpoint": 422,
        "out_of_memory": 507,
    }
    return Problem(
        status=status.get(failure.kind, 500),
        kind=failure.kind,
        title=failure.kind.replace("_", " ").capitalize(),
        detail=failure.message,
        field=failure.field,
    )
