"""The problems that the queue answers with instead of doing what it was asked for."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TypeVar

from server.problems import Problem
from server.store import StoreClosed, StoreFailed

T = TypeVar("T")

_UNKNOWN_SECONDS = 5
_LONGEST_SECONDS = 600


def queue_full(most: int, between: float | None) -> Problem:
    """429: the queue holds ``most`` jobs; one ends every ``between`` seconds, as far as is known."""
    seconds = _UNKNOWN_SECONDS if between is None else min(_LONGEST_SECONDS, max(1, math.ceil(between)))
    return Problem(
        status=429,
        kind="queue_full",
        title="Queue full",
        detail=f"the queue is full with {most} jobs (SD_MAX_QUEUED); try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


async def stored(operation: Awaitable[T]) -> T:
    """Return the result of a store's operation; raise 507 if it fails, or 503 once the store is closed."""
    try:
        return await operation
    except StoreClosed:
        raise shutting_down() from None
    except StoreFailed as error:
        raise storage_failed(error) from error


def storage_failed(error: Exception) -> Problem:
    """507: the database, or the storage of pictures, failed."""
    return Problem(status=507, kind="storage_failed", title="Storage failed", detail=f"nothing was done: {error}")


def conflict(kind: str, detail: str) -> Problem:
    """409: the request contradicts what is there."""
    return Problem(status=409, kind=kind, title=kind.replace("_", " ").capitalize(), detail=detail)


def shutting_down() -> Problem:
    """503: the server is shutting down."""
    return Problem(
        status=503,
        kind="shutting_down",
        title="Shutting down",
        detail="the server is shutting down",
        headers={"Retry-After": "5"},
    )
