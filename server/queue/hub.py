"""Publishes what happens to jobs to the readers of each. Lives on the event loop; keeps only the latest of each job.

Knows no database: only queued and running jobs are here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.job import Job, Picture
from server.queue.events import SPAN, Event, Kind, finished_event, queued_event

if TYPE_CHECKING:
    from engine import Progress

_log = logging.getLogger(__name__)

MAX_PENDING = 10_000
"""The most events that wait for one reader of all jobs: readers further behind are dropped."""

_Pending = dict[tuple[str, Kind, int, tuple[Picture, ...]], Event]
"""The events that a reader has not seen yet, by job, kind, request and pictures: a later step replaces an earlier
one."""


class Subscription(AsyncIterator[Event]):
    """The events that one reader has not seen yet. The hub drops it when the reader does."""

    def __init__(self, first: _Pending | None = None, *, ended: bool = False) -> None:
        self._pending: _Pending = dict(first or {})
        self._ended = ended
        self._changed = asyncio.Event()

    def put(self, event: Event) -> None:
        key = _key(event)
        self._pending.pop(key, None)  # the later one goes to the end
        self._pending[key] = event
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    @property
    def pending(self) -> int:
        return len(self._pending)

    async def __anext__(self) -> Event:
        while not self._pending:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._pending.pop(next(iter(self._pending)))


@dataclass(eq=False)
class _Channel:
    """A queued or running job and its readers."""

    job: Job | None = None
    count: int = 0
    standing: _Pending = field(default_factory=dict)
    latest: Event | None = None
    readers: weakref.WeakSet[Subscription] | None = None
    """Made for the first one: most jobs have none."""
    waiters: list[asyncio.Future[Job]] = field(default_factory=list)
    shares: dict[int, float] = field(default_factory=dict)
    cached: tuple[str, ...] = ()


class Hub:
    """Publishes events to the readers of each job, and to those of all jobs."""

    def __init__(self) -> None:
        self.watch: Callable[[Event], None] | None = None
        """A function that is called with every event, when it happens."""
        self._channels: dict[str, _Channel] = {}
        self._all: weakref.WeakSet[Subscription] | None = None
        self._closed = False

    def reserve(self, id: str) -> bool:
        """Make room for a job that is about to be accepted; False if there is one with that id."""
        if id in self._channels:
            return False
        self._channels[id] = _Channel()
        return True

    def drop(self, id: str) -> None:
        """Take back ``reserve``, because the job was not accepted."""
        channel = self._channels.pop(id, None)
        if channel is not None:
            _end_all(channel)

    def knows(self, id: str) -> bool:
        """Whether the job is about to be accepted, queued or running."""
        return id in self._channels

    def queued(self, job: Job) -> None:
        """Publish that ``job`` was accepted or queued again, unless it has gone on since."""
        channel = self._channels.get(job.id)
        if channel is None or (channel.job is not None and channel.job.attempt > job.attempt):
            return
        channel.standing.clear()
        self._publish(channel, queued_event(job))

    def started(self, job: Job) -> None:
        """Publish that an attempt started."""
        channel = self._channels.setdefault(job.id, _Channel())
        if channel.latest is None:  # it was accepted and started at once
            self.queued(dataclasses.replace(job, state="queued", attempt=job.attempt - 1, started=None))
        channel.standing.clear()
        channel.shares.clear()
        channel.cached = ()
        channel.count = 0
        self._publish(channel, Event(number=job.attempt * SPAN, kind="started", job=job))

    def progressed(
        self,
        job: Job,
        request: int,
        progress: Progress,
    ) -> Event | None:
        """Publish the progress of one of a running job's tasks; return the event, or None if the attempt is over."""
        channel = self._channels.get(job.id)
        if channel is None or channel.job is None or channel.job.attempt != job.attempt:
            return None
        channel.shares[request] = progress.done
        share = sum(channel.shares.values()) / len(job.tasks)
        shared: dict[str, Any] = {"job": channel.job, "request": request, "stage": progress.stage}
        shared |= {"step": progress.step, "steps": progress.steps, "node": progress.node}
        channel.cached = progress.cached or channel.cached
        shared["cached"] = channel.cached
        event = Event(number=self._number(channel), kind="progress", progress=share, **shared)
        self._publish(channel, event)
        if progress.preview is not None:
            number = self._number(channel)
            event_of_preview = Event(number=number, kind="preview", progress=share, preview=progress.preview, **shared)
            self._publish(channel, event_of_preview)
        return event

    def made(self, job: Job, request: int, pictures: Sequence[Picture]) -> None:
        """Publish that pictures of one of a running job's tasks are there, an event for each output node."""
        channel = self._channels.get(job.id)
        if channel is None or channel.job is None or channel.job.attempt != job.attempt:
            return
        share = sum(channel.shares.values()) / len(job.tasks)
        for node in dict.fromkeys(picture.node for picture in pictures):
            own = tuple(picture for picture in pictures if picture.node == node)
            number = self._number(channel)
            shared: dict[str, Any] = {"job": channel.job, "request": request, "node": node, "progress": share}
            self._publish(channel, Event(number=number, kind="output", pictures=own, **shared))

    def changed(self, job: Job) -> None:
        """Note that a running job's row changed (``cancel_requested``), which is no event."""
        channel = self._channels.get(job.id)
        if channel is not None and channel.job is not None and channel.job.attempt == job.attempt:
            channel.job = job

    def finished(self, job: Job) -> None:
        """Publish the end of a job, and end its readers."""
        channel = self._channels.pop(job.id, None)
        if channel is None:
            return
        channel.standing.clear()
        self._publish(channel, finished_event(job))
        for reader in list(channel.readers or ()):
            reader.end()
        for waiter in channel.waiters:
            if not waiter.done():
                waiter.set_result(job)

    def latest(self, id: str) -> Event | None:
        """Return the latest event, other than a preview or pictures, of a queued or running job."""
        channel = self._channels.get(id)
        return None if channel is None else channel.latest

    def subscribe(self, id: str, after: int = 0) -> Subscription | None:
        """Return a reader of a queued or running job: how it stands, if newer than ``after``, then what happens."""
        channel = self._channels.get(id)
        if channel is None or self._closed:
            return None
        reader = Subscription({key: event for key, event in channel.standing.items() if event.number > after})
        if channel.readers is None:
            channel.readers = weakref.WeakSet()
        channel.readers.add(reader)
        return reader

    def subscribe_all(self) -> Subscription:
        """Return a reader of what happens to any job from now on."""
        reader = Subscription(ended=self._closed)
        if self._all is None:
            self._all = weakref.WeakSet()
        self._all.add(reader)
        return reader

    def end_of(self, id: str) -> asyncio.Future[Job] | None:
        """Return a future of the finished job, which ``close`` cancels; None if the job is not here."""
        channel = self._channels.get(id)
        if channel is None or self._closed:
            return None
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        channel.waiters = [other for other in channel.waiters if not other.done()] + [waiter]
        return waiter

    def close(self) -> None:
        """End all readers and waiters."""
        self._closed = True
        for reader in list(self._all or ()):
            reader.end()
        for channel in self._channels.values():
            _end_all(channel)

    def _number(self, channel: _Channel) -> int:
        assert channel.job is not None
        channel.count = min(channel.count + 1, 10**6 * 998)
        return channel.job.attempt * SPAN + channel.count

    def _publish(self, channel: _Channel, event: Event) -> None:
        channel.job = event.job
        if event.kind not in ("preview", "output"):
            channel.latest = event
        channel.standing[_key(event)] = event
        for reader in list(channel.readers or ()):
            reader.put(event)
        if self._all is not None:
            for reader in list(self._all):
                reader.put(event)
                if reader.pending > MAX_PENDING:
                    reader.end()
                    self._all.discard(reader)
        if self.watch is not None:
            try:
                self.watch(event)
            except Exception:  # a watcher must not stop what it watches
                _log.exception("an event could not be passed on", extra={"job": event.job.id})


def _key(event: Event) -> tuple[str, Kind, int, tuple[Picture, ...]]:
    return event.job.id, event.kind, event.request, event.pictures


def _end_all(channel: _Channel) -> None:
    """End the readers and waiters of a job."""
    for reader in list(channel.readers or ()):
        reader.end()
    for waiter in channel.waiters:
        waiter.cancel()
