"""The waiting calls that make pictures, for the routes that report their progress or stop them.

AUTOMATIC1111 works on one job at a time, and its API speaks of "the" job. Here several run at once, and "the" job is
the caller's latest; another caller's job is never shown and never stopped. A caller with several jobs gives each a
``force_task_id`` and names it in its questions. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.job import Job
from server.queue.events import Event
from server.queue.jobs import Jobs

_REMEMBERED = 1000
"""How many finished task ids are remembered."""


@dataclass(eq=False, kw_only=True)
class Call:
    """One call that waits for its job."""

    job: Job
    """The job as it was accepted."""
    task: str
    """The caller's name for the call; without one, the job's id."""
    name: str = "txt2img"
    """The route that was called."""
    preview: Event | None = None
    """The latest event that had a preview."""


class Calls:
    """The waiting calls in the order of acceptance. Calls with the same idempotency key share a job."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._calls: dict[Call, None] = {}
        self._finished: OrderedDict[tuple[str, str], None] = OrderedDict()

    @contextlib.asynccontextmanager
    async def under_way(self, job: Job, task: str | None, name: str) -> AsyncIterator[None]:
        """Know ``job`` for as long as the block, in which its call waits."""
        call = Call(job=job, task=task or job.id, name=name)
        self._finished.pop((job.client, call.task), None)
        self._calls[call] = None
        follower = asyncio.create_task(self._follow(call))
        try:
            yield
        finally:
            follower.cancel()
            del self._calls[call]
            self._finished[job.client, call.task] = None
            while len(self._finished) > _REMEMBERED:
                self._finished.popitem(last=False)
            await asyncio.gather(follower, return_exceptions=True)

    async def _follow(self, call: Call) -> None:
        async for event in self._jobs.events(call.job.id):
            if event.preview is not None:
                call.preview = event

    def of(self, client: str) -> list[Call]:
        """List the client's calls that are queued or running, in the order of acceptance."""
        return [call for call in self._calls if call.job.client == client and self.standing(call) is not None]

    def asked_for(self, client: str, task: str | None) -> Call | None:
        """Find the client's call of that task id; without one, the same as ``newest``."""
        return self.newest(client) if task is None else self.named(client, task)

    def newest(self, client: str) -> Call | None:
        """Find the client's running call that was accepted last; if none runs, the queued call that comes next."""
        calls = self.of(client)
        running = [call for call in calls if self.running(call)]
        return running[-1] if running else next(iter(calls), None)

    def named(self, client: str, task: str) -> Call | None:
        """Find the client's latest call of that task id or job id."""
        return next((call for call in reversed(self.of(client)) if task in (call.task, call.job.id)), None)

    def has_finished(self, client: str, task: str) -> bool:
        return (client, task) in self._finished

    def standing(self, call: Call) -> Event | None:
        """Return the latest event of a call; None when it is done."""
        event = self._jobs.latest(call.job.id)
        return None if event is None or event.kind == "finished" else event

    def running(self, call: Call) -> bool:
        event = self.standing(call)
        return event is not None and event.job.state == "running"
