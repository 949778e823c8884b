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
    """Write a job's events. Every message has an id, because Replicate's clients drop messages without one."""
    sent = ""
    async for event in with_heartbeats(events):
        if event is None:
            yield KEEPALIVE_COMMENT
            continue
        for kind, data, known in await _messages(event, sent):
            sent = known
            yield format_sse_event(event=kind, data_str=data, id=str(event.number))


async def _messages(event: Event, sent: str) -> list[tuple[str, str, str]]:
    """List the messages of one event: kind, data, and the logs that are sent by then. ``sent``: those sent before."""
    if event.preview is not None:
        jpeg = base64.b64encode(await preview_bytes(event.preview)).decode()
        return [("output", f"data:image/jpeg;base64,{jpeg}", sent)]
    known = logs(event.job, event)
    known = known if len(known) > len(sent) else sent
    messages = [("logs", known[len(sent) :], known)] if known != sent else []
    if event.kind == "finished":
        messages += [(kind, data, known) for kind, data in _end(event.job)]
    return messages


def _end(job: Job) -> list[tuple[str, str]]:
    if job.state == "succeeded":
        return [*(("output", url) for url in output(job)), ("done", "{}")]
    if job.failure is not None:
        return [("error", job.failure.message), ("done", json.dumps({"reason": "error"}))]
    return [("done", json.dumps({"reason": "canceled"}))]
