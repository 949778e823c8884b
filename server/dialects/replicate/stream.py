"""A prediction's events as Replicate streams them: ``output``, ``logs``, ``error``, ``done``."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from server.dialects.replicate.prediction import logs, output
from server.dialects.shared.streams import with_heartbeats
from server.job import Job
from server.pictures.formats import preview_bytes
from server.queue.events import Event


async def stream(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """From a job's events. Every message has an id, as Replicate's clients drop those that have none."""
    told = ""
    async for event in with_heartbeats(events):
        if event is None:
            yield KEEPALIVE_COMMENT
            continue
        for kind, data, known in await _messages(event, told):
            told = known
            yield format_sse_event(event=kind, data_str=data, id=str(event.number))


async def _messages(event: Event, told: str) -> list[tuple[str, str, str]]:
    """Kind, data, and the logs that are told by then."""
    if event.preview is not None:
        jpeg = base64.b64encode(await preview_bytes(event.preview)).decode()
        return [("output", f"data:image/jpeg;base64,{jpeg}", told)]
    known = logs(event.job, event)
    known = known if len(known) > len(told) else told
    messages = [("logs", known[len(told) :], known)] if known != told else []
    if event.kind == "finished":
        messages += [(kind, data, known) for kind, data in _end(event.job)]
    return messages


def _end(job: Job) -> list[tuple[str, str]]:
    if job.state == "succeeded":
        return [*(("output", url) for url in output(job)), ("done", "{}")]
    if job.failure is not None:
        return [("error", job.failure.message), ("done", json.dumps({"reason": "error"}))]
    return [("done", json.dumps({"reason": "canceled"}))]
