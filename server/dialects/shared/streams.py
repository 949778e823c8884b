"""Server-sent events about a job: heartbeats while nothing happens, and the end of the job when its caller leaves.

Knows no dialect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
from fastapi.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from server.job import Job
from server.queue.events import Event
from server.web.services import Services

HEARTBEAT = 15.0
"""Seconds without an event after which a stream sends a comment, so that proxies keep it open."""


async def with_heartbeats(events: AsyncIterator[Event]) -> AsyncIterator[Event | None]:
    """Yield ``events``, and None whenever ``HEARTBEAT`` seconds have passed without one."""
    coming: asyncio.Task[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(events))
            await asyncio.wait({coming}, timeout=HEARTBEAT)
            if not coming.done():
                yield None
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


async def _next(events: AsyncIterator[Event]) -> Event:
    return await anext(events)


class EventStream(EventSourceResponse):
    """A stream of events that no cache keeps. Closing it has no effect on the job."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        super().__init__(parts, headers={"Cache-Control": "no-store"})


class JobStream(EventStream):
    """A stream that is the answer to the call that made ``job``: closing it before its end cancels the job, unless the
    job has an idempotency key or the server is closing, as in ``Services.wait_connected``."""

    def __init__(self, services: Services, job: Job, parts: AsyncGenerator[bytes, None]) -> None:
        self._services, self._job, self._parts = services, job, parts
        self._ended = False
        super().__init__(self._until_end())

    async def _until_end(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            yield part
        self._ended = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._parts.aclose()
                if not self._ended and self._job.idempotency_key is None and not self._services.closing:
                    await self._services.jobs.cancel(self._job.id)
