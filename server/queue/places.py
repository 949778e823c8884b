"""Where jobs stand in the queue, and when each will probably be done. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from server.job import Job, Place
from server.queue.estimate import Estimate
from server.queue.hub import Hub
from server.queue.refusals import stored
from server.store import Store


class Places:
    """Looks through the queue once for all callers that ask in the meantime.

    A look takes longer the more jobs wait, which is when many callers ask.
    """

    def __init__(self, store: Store, hub: Hub, estimate: Estimate) -> None:
        self._store = store
        self._hub = hub
        self._estimate = estimate
        self._asked: set[str] = set()
        self._looking: asyncio.Future[dict[str, int]] | None = None
        self._next: asyncio.Future[dict[str, int]] | None = None

    async def of(self, jobs: Collection[Job]) -> dict[str, Place | None]:
        """Return the place of each job by its id, None for one that is done. Raises ``Problem`` if the store fails."""
        queued = [job.id for job in jobs if job.state == "queued"]
        aheads = await self._aheads(queued) if queued else {}
        return {job.id: self._place(job, aheads.get(job.id, 0)) for job in jobs}

    async def _aheads(self, ids: Collection[str]) -> dict[str, int]:
        self._asked.update(ids)
        if self._next is None:
            self._next = asyncio.ensure_future(self._look(self._looking))
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())  # all callers may have gone
        return await asyncio.shield(self._next)

    async def _look(self, before: asyncio.Future[dict[str, int]] | None) -> dict[str, int]:
        """Answer all callers that ask before this look starts, which is when the one before it has ended."""
        if before is not None:
            await asyncio.wait({before})
        ids, self._asked = self._asked, set()
        self._looking, self._next = self._next, None
        return await stored(self._store.jobs_ahead(ids))

    def _place(self, job: Job, ahead: int) -> Place | None:
        if job.done:
            return None
        seconds, between = self._estimate.seconds(job), self._estimate.between()
        if job.state == "running":
            latest = self._hub.latest(job.id)
            share = latest.progress if latest is not None else 0.0
            return Place(ahead=0, wait=None if seconds is None else seconds * (1 - share))
        if seconds is None or between is None:
            return Place(ahead=ahead, wait=None)
        return Place(ahead=ahead, wait=seconds + ahead * between)
