"""The rules about attempts that every store follows. Knows no table."""

from __future__ import annotations

import dataclasses
from typing import get_args

from server.job import Failure, Job, State
from server.store.protocol import Ending, Made

STATES: tuple[State, ...] = get_args(State)


def under_suspicion(attempts: int, max_attempts: int) -> bool:
    """Whether a job's attempt number ``attempts`` is its last after others have died, so that it must run alone.

    ``attempts`` leaves out excused ones.
    """
    return 1 < attempts >= max_attempts


def ending_of_dead_attempt(job: Job, max_attempts: int, now: float) -> Ending | None:
    """Return how a running job whose attempt is dead ends, or None if it is queued again.

    The store turns the ending into ``cancelled`` where that was requested, as it does with any other.
    """
    if job.interrupted and not job.cancel_requested:
        made = {field.name: getattr(job, field.name) for field in dataclasses.fields(Made)}
        return Ending(state="succeeded" if job.pictures else "cancelled", finished=now, **made)
    counted = job.attempt - job.excused
    if not job.cancel_requested and counted < max_attempts:
        return None
    failure = Failure(
        kind="attempts_exhausted",
        message=f"started {counted} times, which is as often as the server tries; each attempt stopped before its end",
    )
    return Ending(state="failed", finished=now, failure=failure)
