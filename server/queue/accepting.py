"""Turns what a dialect asks for into a job that may be accepted: limits, seeds, models, the key's fingerprint.

Knows the settings and the backend; knows no database.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from engine import BadRequest, GenerationRequest, Workflow
from engine.workflow.from_request import field_of
from engine.workflow.needs import Needs, needs_of
from engine.workflow.node import Node
from engine.workflow.picture_sizes import LOADED
from engine.workflow.sizes import Known
from engine.workflow.text import EncodedText
from server.backends.protocol import Backend
from server.inputs.input import Input
from server.job import JOB_ID, JOB_ID_RULE, Job, NewJob
from server.problems import Problem, bad_request
from server.settings import Settings
from server.store import Moment
from server.task import Task, known_pictures
from server.webhooks.targets import check_url

_MOST_REQUESTS = 4096
_MOMENTS = get_args(Moment)


def job_for(
    new: NewJob, settings: Settings, backend: Backend, inputs: Mapping[str, Input] = MappingProxyType({})
) -> Job:
    """Return a job that was checked but not accepted yet.

    ``inputs`` are the pictures that were handed in for it, by the names that its workflows have for them. Raises
    ``Problem``, ``BadRequest``, ``UnknownCheckpoint``.
    """
    known = known_pictures(inputs)
    _check(new, known, settings)
    return Job(
        id=new.id if new.id is not None else secrets.token_hex(12),
        sequence=0,  # the store gives it
        state="queued",
        tasks=tuple(
            Task.of(backend.check(_within(wanted, known, settings), known), backend.name_of, inputs)
            for wanted in new.wanted
        ),
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
    asked = new.asked if new.asked is not None else [Task.of(wanted).to_json() for wanted in new.wanted]
    text = json.dumps([new.dialect, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check(new: NewJob, known: Known, settings: Settings) -> None:
    if not new.wanted:
        raise bad_request("requests", [], "at least one")
    if not -10 <= new.priority <= 10:
        raise bad_request("priority", new.priority, "a whole number from -10 to 10")
    if new.id is not None and not JOB_ID.fullmatch(new.id):
        raise bad_request("id", new.id, JOB_ID_RULE)
    if new.idempotency_key is not None and not 1 <= len(new.idempotency_key) <= 255:
        raise bad_request("idempotency_key", new.idempotency_key, "1 to 255 characters")
    pictures = sum(_pictures(wanted, known) for wanted in new.wanted)
    if pictures > settings.max_pictures or len(new.wanted) > _MOST_REQUESTS:
        raise _too_large("batch_size", pictures, f"at most {settings.max_pictures} pictures in one job")
    if len(known.pictures) > settings.max_inputs:
        raise _too_large("inputs", f"{len(known.pictures)} pictures", f"at most {settings.max_inputs}")
    if new.webhook is not None:
        for moment in new.webhook.events:
            if moment not in _MOMENTS:
                raise bad_request("webhook_events", moment, f"one of {', '.join(_MOMENTS)}")
        check_url(new.webhook.url, private=settings.webhook_private_addresses)


def _pictures(wanted: GenerationRequest | Workflow, known: Known) -> int:
    """Return the number of pictures that come of it, or that it has in progress at a time if those are more."""
    if isinstance(wanted, GenerationRequest):
        return wanted.batch_size
    workflow, needs = _needs(wanted, known)
    made = sum(needs.pictures(output).pictures for output in workflow.outputs.values())
    return max(made, *(size.pictures for size in needs.sizes.values()))


def _within(wanted: GenerationRequest | Workflow, known: Known, settings: Settings) -> GenerationRequest | Workflow:
    """Return ``wanted`` with its seed, having compared it with the settings' limits."""
    if isinstance(wanted, GenerationRequest):
        _check_size("width", wanted.width, wanted.height, settings)
        _check_steps("steps", wanted.steps, settings)
        for name in ("prompt", "negative_prompt"):
            _check_text(name, getattr(wanted, name), settings)
        wanted = wanted.with_seed()
        if wanted.plain:
            return wanted
    workflow, needs = _needs(wanted, known)
    for node, size in needs.sizes.items():
        if not isinstance(node, LOADED):  # these have limits of their own
            _check_size(_place(wanted, node, "width"), *size.pixels, settings)
    for sample, steps in needs.steps.items():
        _check_steps(_place(wanted, sample, "steps"), steps, settings)
    for node in workflow.nodes:
        if isinstance(node, EncodedText):
            _check_text(_place(wanted, node, "text"), node.text, settings)
    return wanted


def _needs(wanted: GenerationRequest | Workflow, known: Known) -> tuple[Workflow, Needs]:
    """Return the workflow, and what it needs. Raises ``BadRequest`` at its place in the graph, or in the request."""
    workflow = wanted.workflow() if isinstance(wanted, GenerationRequest) else wanted
    try:
        return workflow, needs_of(workflow, known)
    except BadRequest as error:
        raise _located(wanted, error) from None


def _place(wanted: GenerationRequest | Workflow, node: Node, field: str) -> str:
    return _located(wanted, BadRequest(field, None, "", node=node)).field


def _located(wanted: GenerationRequest | Workflow, error: BadRequest) -> BadRequest:
    if isinstance(wanted, Workflow):
        return wanted.located(error)
    return type(error)(field_of(wanted, error), error.value, error.allowed)


def _check_size(field: str, width: int, height: int, settings: Settings) -> None:
    if width * height > settings.max_pixels:
        raise _too_large(field, f"{width}×{height}", f"width × height of at most {settings.max_pixels} pixels")


def _check_steps(field: str, steps: int, settings: Settings) -> None:
    if steps > settings.max_steps:
        raise _too_large(field, steps, f"at most {settings.max_steps}")


def _check_text(field: str, text: str, settings: Settings) -> None:
    if len(text) > settings.max_prompt:
        raise _too_large(field, f"{len(text)} characters", f"at most {settings.max_prompt}")


def _too_large(field: str, value: object, allowed: str) -> Problem:
    """Return a 400 of a kind of its own: a server with other limits would accept the value."""
    problem = bad_request(field, value, f"{allowed} (a limit of this server)")
    return dataclasses.replace(problem, kind="too_large", title="Too large")
