"""A job's events as OpenAI streams them: partial pictures, then the whole one, or an error."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from engine import EngineError
from server.dialects.openai.answers import completed_json, partial_json
from server.dialects.openai.body import Call
from server.dialects.openai.errors import error_json
from server.dialects.shared.streams import with_heartbeats
from server.dialects.shared.waiting import ensure_succeeded
from server.job import Job
from server.problems import Problem
from server.queue.events import Event
from server.web.errors import problem_of_error
from server.web.services import Services

log = logging.getLogger(__name__)


async def stream(services: Services, job: Job, call: Call) -> AsyncGenerator[bytes, None]:
    """Yield partial pictures, evenly over the steps, then the whole one; or an error in the form of OpenAI's."""
    partials = Partials(call.controls.partial_images)
    try:
        async for event in with_heartbeats(services.jobs.events(job.id)):
            if event is None:
                yield KEEPALIVE_COMMENT
            elif event.kind == "finished":
                job = event.job
            elif event.preview is not None and (index := partials.due(event)) is not None:
                yield _message(await partial_json(event.preview, call, index))
        ensure_succeeded(job)
        yield _message(await completed_json(services, job, call))
    except Exception as error:  # the status has been sent, so that only the stream can hold the error
        if not isinstance(error, Problem | EngineError):
            log.exception("the events of job %s could not be sent", job.id)
        yield _message({"type": "error", "error": error_json(problem_of_error(error))})


class Partials:
    """Chooses ``count`` previews to send: when the share of steps passes 1/(count + 1), 2/(count + 1), …"""

    def __init__(self, count: int) -> None:
        self._count = count
        self._passed = 0
        self._sent = 0

    def due(self, event: Event) -> int | None:
        """Return the index of the preview in ``event``, or None if it is not to be sent."""
        passed = min(event.step * (self._count + 1) // (event.steps or event.step + 1), self._count)
        if passed <= self._passed:
            return None
        self._passed, self._sent = passed, self._sent + 1
        return self._sent - 1


def _message(event: dict[str, Any]) -> bytes:
    return format_sse_event(event=event["type"], data_str=json.dumps(event))
