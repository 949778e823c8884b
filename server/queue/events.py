"""Progress and previews per job, to whoever listens. Lives on the event loop; keeps only the latest of each job.

Knows no database: what is not queued or running is not here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from server.job import Job, Stage

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

Kind = Literal["queued", "started", "progress", "preview", "finished"]

SPAN = 10**9
"""Numbers that an attempt's events may take: a later attempt's numbers are higher, also after a restart."""
_QUEUED = SPAN - 10**6
_FINISHED = SPAN - 1
MAX_PENDING = 10_000
"""Events that wait for one reader of all jobs; whoever lets more gather is let go of."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a job."""

    number: int
    """Grows with each event of a job, also over restarts (``Last-Event-ID``)."""
    kind: Kind
    job: Job
    """The job as it was then."""
    request: int = 0
    """Which of the job's requests this is about."""
    stage: Stage | None = None
    step: int = 0
    """Steps done by that request."""
    steps: int | None = None
    """Its steps in all; None where it is not known."""
    progress: float = 0.0
    """The share of the whole job that is done, 0 … 1."""
    preview: Image | None = None
    """A small rough picture, an eighth of the picture's size."""


_Pending = dict[tuple[str, Kind, int], Event]
"""What a reader has yet to see, by job, kind and request: a later step takes an earlier one's place."""


class Subscription(AsyncIterator[Event]):
    """What one reader has yet to see, from its construction on. Forgotten by the hub when the reader forgets it."""

    def __init__(self, first: _Pending | None = None, *, ended: bool = False) -> None:
        self._pending: _Pending = dict(first or {})
        self._ended = ended
        self._changed = asyncio.Event()

    def put(self, event: Event) -> None:
        key = (event.job.id, event.kind, event.request)
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
    """A job that is queued or running."""

    job: Job | None = None
    count: int = 0
    standing: _Pending = field(default_factory=dict)
    latest: Event | None = None
    readers: weakref.WeakSet[Subscription] = field(default_factory=weakref.WeakSet)
    waiters: list[asyncio.Future[Job]] = field(default_factory=list)
    shares: dict[int, float] = field(default_factory=dict)


class Hub:
    """Tells readers what happens to jobs."""

    def __init__(self) -> None:
        self.watch: Callable[[Event], None] | None = None
        """Called with every event, when it happens."""
        self._channels: dict[str, _Channel] = {}
        self._all: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._closed = False

    def reserve(self, id: str) -> bool:
        """Make room for a job that is about to be accepted; False where there is one of that id."""
        if id in self._channels:
            return False
        self._channels[id] = _Channel()
        return True

    def drop(self, id: str) -> None:
        """The job of ``reserve`` was not accepted."""
        channel = self._channels.pop(id, None)
        if channel is not None:
            _let_go(channel)

    def knows(self, id: str) -> bool:
        """Whether the job is about to be accepted, queued or running."""
        return id in self._channels

    def queued(self, job: Job) -> None:
        """``job`` was accepted, or put back into the queue. Says nothing if it has gone on since."""
        channel = self._channels.get(job.id)
        if channel is None or (channel.job is not None and channel.job.attempt > job.attempt):
            return
        channel.standing.clear()
        self._publish(channel, Event(number=job.attempt * SPAN + _QUEUED, kind="queued", job=job))

    def started(self, job: Job) -> None:
        """An attempt began."""
        channel = self._channels.setdefault(job.id, _Channel())
        if channel.latest is None:  # it was accepted and begun at once
            self.queued(dataclasses.replace(job, state="queued", attempt=job.attempt - 1, started=None))
        channel.standing.clear()
        channel.shares.clear()
        channel.count = 0
        self._publish(channel, Event(number=job.attempt * SPAN, kind="started", job=job))

    def progressed(
        self,
        job: Job,
        request: int,
        stage: Stage,
        *,
        step: int = 0,
        steps: int | None = None,
        preview: Image | None = None,
    ) -> Event | None:
        """One of the running job's requests got on; the event, unless that attempt is over."""
        channel = self._channels.get(job.id)
        if channel is None or channel.job is None or channel.job.attempt != job.attempt:
            return None
        channel.shares[request] = step / (steps + 1) if steps else 0.0  # the pictures' decoding is the last step
        share = sum(channel.shares.values()) / len(job.requests)
        told: dict[str, Any] = {"job": channel.job, "request": request, "stage": stage, "step": step, "steps": steps}
        event = Event(number=self._number(channel), kind="progress", progress=share, **told)
        self._publish(channel, event)
        if preview is not None:
            number = self._number(channel)
            self._publish(channel, Event(number=number, kind="preview", progress=share, preview=preview, **told))
        return event

    def changed(self, job: Job) -> None:
        """The running job's row changed (``cancel_requested``) without an event of its own."""
        channel = self._channels.get(job.id)
        if channel is not None and channel.job is not None and channel.job.attempt == job.attempt:
            channel.job = job

    def finished(self, job: Job) -> None:
        """The job came to its end; its readers are told and let go."""
        channel = self._channels.pop(job.id, None)
        if channel is None:
            return
        channel.standing.clear()
        self._publish(channel, finished_event(job))
        for reader in list(channel.readers):
            reader.end()
        for waiter in channel.waiters:
            if not waiter.done():
                waiter.set_result(job)

    def latest(self, id: str) -> Event | None:
        """The latest event but previews of a job that is queued or running."""
        channel = self._channels.get(id)
        return None if channel is None else channel.latest

    def subscribe(self, id: str, after: int = 0) -> Subscription | None:
        """Where a queued or running job stands, if that is newer than ``after``, and what happens until its end."""
        channel = self._channels.get(id)
        if channel is None or self._closed:
            return None
        reader = Subscription({key: event for key, event in channel.standing.items() if event.number > after})
        channel.readers.add(reader)
        return reader

    def subscribe_all(self) -> Subscription:
        """What happens to any job from now on."""
        reader = Subscription(ended=self._closed)
        self._all.add(reader)
        return reader

    def end_of(self, id: str) -> asyncio.Future[Job] | None:
        """Settled with the job at its end, cancelled when the hub closes; None where the job is not here."""
        channel = self._channels.get(id)
        if channel is None or self._closed:
            return None
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        channel.waiters = [other for other in channel.waiters if not other.done()] + [waiter]
        return waiter

    def close(self) -> None:
        """Let go of all readers and waiters."""
        self._closed = True
        for reader in list(self._all):
            reader.end()
        for channel in self._channels.values():
            _let_go(channel)

    def _number(self, channel: _Channel) -> int:
        assert channel.job is not None
        channel.count = min(channel.count + 1, 10**6 * 998)
        return channel.job.attempt * SPAN + channel.count

    def _publish(self, channel: _Channel, event: Event) -> None:
        channel.job = event.job
        if event.kind != "preview":
            channel.latest = event
        channel.standing[(event.job.id, event.kind, event.request)] = event
        if channel.readers:
            for reader in list(channel.readers):
                reader.put(event)
        if self._all:
            for reader in list(self._all):
                reader.put(event)
                if reader.pending > MAX_PENDING:
                    reader.end()
                    self._all.discard(reader)
        if self.watch is not None:
            try:
                self.watch(event)
            except Exception:  # whoever watches must not stop what is watched
                _log.exception("an event could not be told", extra={"job": event.job.id})


def _let_go(channel: _Channel) -> None:
    """Whoever follows it hears no more."""
    for reader in list(channel.readers):
        reader.end()
    for waiter in channel.waiters:
        waiter.cancel()


def nothing_follows(job: Job, after: int) -> bool:
    """Whether the job has come to its end, and event ``after`` was that or a later one."""
    return job.done and after >= finished_event(job).number


def finished_event(job: Job) -> Event:
    """The last event of a job that is done."""
    share = 1.0 if job.state == "succeeded" else 0.0
    return Event(number=job.attempt * SPAN + _FINISHED, kind="finished", job=job, progress=share)
