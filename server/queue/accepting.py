"""Turns what a dialect asks for into a job that may be accepted: limits, seeds, models, the key's fingerprint.

Knows the settings and the backend; knows no database.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from typing import get_args

from engine import GenerationRequest
from server.backends.protocol import Backend
from server.job import JOB_ID, JOB_ID_RULE, Job, NewJob, parameters
from server.problems import Problem, bad_request
from server.settings import Settings
from server.store import Moment
from server.webhooks.targets import check_url

_MOST_REQUESTS = 4096
_MOMENTS = get_args(Moment)


def job_for(new: NewJob, settings: Settings, backend: Backend) -> Job:
    """Return a job that was checked but not accepted yet. Raises ``Problem``, ``BadRequest``, ``UnknownCheckpoint``."""
    _check(new, settings)
    return Job(
        id=new.id if new.id is not None else secrets.token_hex(12),
        sequence=0,  # the store gives it
        state="queued",
        requests=tuple(backend.check(_within(request, settings)).with_seed() for request in new.requests),
        dialect=new.dialect,
        client=new.client,
        priority=new.priority,
        created=time.time(),
        idempotency_key=new.idempotency_key,
        label=new.label,
        webhook=new.webhook,
        extra=new.extra,
        token=secrets.token_hex(16),
    )


def fingerprint(new: NewJob) -> str:
    """Return a digest of what must be the same if an idempotency key comes again."""
    asked = new.asked if new.asked is not None else [parameters(request) for request in new.requests]
    text = json.dumps([new.dialect, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check(new: NewJob, settings: Settings) -> None:
    if not new.requests:
        raise bad_request("requests", [], "at least one")
    if not -10 <= new.priority <= 10:
        raise bad_request("priority", new.priority, "a whole number from -10 to 10")
    if new.id is not None and not JOB_ID.fullmatch(new.id):
        raise bad_request("id", new.id, JOB_ID_RULE)
    if new.idempotency_key is not None and not 1 <= len(new.idempotency_key) <= 255:
        raise bad_request("idempotency_key", new.idempotency_key, "1 to 255 characters")
    pictures = sum(request.batch_size for request in new.requests)
    if pictures > settings.max_pictures or len(new.requests) > _MOST_REQUESTS:
        raise _too_large("batch_size", pictures, f"at most {settings.max_pictures} pictures in one job")
    if new.webhook is not None:
        for moment in new.webhook.events:
            if moment not in _MOMENTS:
                raise bad_request("webhook_events", moment, f"one of {', '.join(_MOMENTS)}")
        check_url(new.webhook.url, private=settings.webhook_private_addresses)


def _within(request: GenerationRequest, settings: Settings) -> GenerationRequest:
    pixels = request.width * request.height
    if pixels > settings.max_pixels:
        size = f"{request.width}×{request.height}"
        raise _too_large("width", size, f"width × height of at most {settings.max_pixels} pixels")
    if request.steps > settings.max_steps:
        raise _too_large("steps", request.steps, f"at most {settings.max_steps}")
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name))
        if length > settings.max_prompt:
            raise _too_large(name, f"{length} characters", f"at most {settings.max_prompt}")
    return request


def _too_large(field: str, value: object, allowed: str) -> Problem:
    """Return a 400 of a kind of its own: a server with other limits would accept the value."""
    problem = bad_request(field, value, f"{allowed} (a limit of this server)")
    return dataclasses.replace(problem, kind="too_large", title="Too large")
