"""Writes webhooks: the body of each message, and the headers that sign it. Sends nothing.

The headers and the signature are those of Standard Webhooks (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from server.job import Job, parameters
from server.store import Message, Moment

_log = logging.getLogger(__name__)

Body = Callable[[Job, str], dict[str, Any]]
"""Returns the body for a job and a moment (``started``, ``output``, ``progress``, ``finished``)."""


class Composer:
    """Writes the messages about a job's change. Thread-safe, and raises nothing, because the change goes first."""

    def __init__(self, bodies: Mapping[str, Body]) -> None:
        self._bodies = {"native": native_body, **bodies}

    def __call__(self, job: Job, moment: Moment) -> Sequence[Message]:
        if job.webhook is None or moment not in job.webhook.events:
            return ()
        now = time.time()
        then = _as_it_was(job, moment)
        try:
            body = json.dumps(self._bodies[job.webhook.form](then, moment), separators=(",", ":"))
        except Exception:
            _log.exception("no body for a webhook of form %r; the native one is sent", job.webhook.form)
            body = json.dumps(native_body(then, moment), separators=(",", ":"))
        id = f"msg_{secrets.token_hex(16)}"
        message = Message(
            id=id, job=job.id, client=job.client, moment=moment, url=job.webhook.url, body=body, created=now, due=now
        )
        return [message]


def signed(id: str, timestamp: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers that identify a message and, with a key, prove who sent it."""
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if key is not None:
        digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _as_it_was(job: Job, moment: Moment) -> Job:
    """Return ``job`` as it was at ``moment``.

    A job's pictures come with its end, in one change of its row, and are reported first, as of a job that still runs.
    """
    return dataclasses.replace(job, state="running", finished=None) if moment == "output" else job


def native_body(job: Job, moment: str) -> dict[str, Any]:
    """Return the body of a webhook for which no dialect has a form of its own."""
    return {
        "type": f"job.{moment}",
        "job_id": job.id,
        "status": job.state,
        "model": job.model,
        "images": [vars(picture) for picture in job.pictures],
        "parameters": [None if task.request is None else parameters(task.request) for task in job.tasks],
        "error": None if job.failure is None else vars(job.failure),
        "timings": dict(job.timings),
    }
