"""The headers that several dialects take and give: which job a call is about, and where its stream of events goes on.

Knows no dialect.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from engine import BadRequest
from server.job import JOB_ID, JOB_ID_RULE, Job
from server.web.services import Services

_LONGEST_KEY = 255
_MOST_DIGITS = 18
"""Of an event's number."""

JOB_HEADERS: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "a repeated call with the same key gets the job that the first one got",
        "schema": {"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY},
    },
    {
        "name": "X-Job-Id",
        "in": "header",
        "description": "an id of your choice for the job: follow or cancel it under /api/v1/jobs while you wait",
        "schema": {"type": "string", "pattern": f"^{JOB_ID.pattern}$"},
    },
]
"""The OpenAPI entries of what ``idempotency_key`` and ``chosen_job_id`` read."""


def idempotency_key(http: Request) -> str | None:
    """Read the Idempotency-Key header. Raises ``BadRequest`` unless it is 1 to 255 printable characters."""
    key = http.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= _LONGEST_KEY and key.isprintable()):
        raise BadRequest("Idempotency-Key", key, f"1 to {_LONGEST_KEY} printable characters")
    return key


def chosen_job_id(http: Request) -> str | None:
    """Read the X-Job-Id header: the id that the caller chose for the job, to follow or cancel it under
    ``/api/v1/jobs`` while the call waits. Raises ``BadRequest`` for an id that does not match ``JOB_ID``."""
    id = http.headers.get("x-job-id")
    if id is not None and not JOB_ID.fullmatch(id):
        raise BadRequest("X-Job-Id", id, JOB_ID_RULE)
    return id


def last_event_id(http: Request) -> int:
    """Read the Last-Event-ID header: the number of the last event that the caller has seen, 0 where it is absent or
    empty. Raises ``BadRequest`` for what is no number of an event."""
    text = http.headers.get("last-event-id", "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise BadRequest("Last-Event-ID", text, "the id of an event")
    return int(text or 0)


LAST_EVENT_ID: dict[str, Any] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "go on after this event",
    "schema": {"type": "string", "pattern": f"^[0-9]{{0,{_MOST_DIGITS}}}$"},
}
"""The OpenAPI entry of what ``last_event_id`` reads."""


def job_headers(services: Services, http: Request, job: Job) -> dict[str, str]:
    """Write the headers that name a job and the native API's path for it."""
    return {"X-Job-Id": job.id, "Location": f"{services.access.base_url(http)}/api/v1/jobs/{job.id}"}
