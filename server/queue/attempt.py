"""An attempt that is under way: which of its requests the backend has, and whose request it is given next.

Knows no store and no events.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from server.backends.protocol import Backend
from server.job import Job

if TYPE_CHECKING:
    from engine import GenerationResult, Progress

    Listener = Callable[[int, Progress], None]
    """A function that is called with a request's number and where it stands."""


class Run:
    """A job's requests, which go to the backend one by one, as it has places for them."""

    def __init__(self, job: Job, *, at_end: int) -> None:
        """``at_end``: most places that it holds while its pictures are kept, when the backend has done its work."""
        self.job = job
        self._at_end = at_end
        self.loading: set[int] = set()
        """Which requests wait for their checkpoint: those hold no place of others."""
        self.work: asyncio.Task[list[GenerationResult]] | None = None
        self.task: asyncio.Task[None] | None = None
        self._left = deque(range(len(job.requests)))
        self._given: set[int] = set()
        self._doors = [asyncio.Event() for _ in job.requests]

    @property
    def places(self) -> int:
        """Of the backend's, taken by pictures."""
        if not self._left and not self._given:
            return min(self.job.pictures_asked, self._at_end)
        return sum(self.job.requests[number].batch_size for number in self._given - self.loading)

    @property
    def wants(self) -> bool:
        """Whether there is a request that the backend could be given."""
        return bool(self._left) and not self.loading

    def give(self) -> None:
        """Let the next request begin."""
        number = self._left.popleft()
        self._given.add(number)
        self._doors[number].set()

    async def carry_out(self, backend: Backend, listen: Listener, ended: Callable[[], None]) -> list[GenerationResult]:
        """All requests, as they are given; ``ended`` is called with each one's end. Raises what the first one that
        failed raised, having cancelled the others."""
        numbers = range(len(self.job.requests))
        tasks = [asyncio.create_task(self._one(number, backend, listen, ended)) for number in numbers]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(
        self, number: int, backend: Backend, listen: Listener, ended: Callable[[], None]
    ) -> GenerationResult:
        await self._doors[number].wait()
        try:
            request = self.job.requests[number]
            return await backend.run(request, lambda progress: listen(number, progress), self.job.client)
        finally:
            self._given.discard(number)
            self.loading.discard(number)
            ended()


def next_run(runs: Collection[Run], waiting: Collection[str]) -> Run | None:
    """Whose request is given a place that is free: of the client that holds fewest places. None where nobody has one
    to give, or one of the clients that wait with a queued job holds fewer."""
    wanting = [run for run in runs if run.wants]
    if not wanting:
        return None
    held: Counter[str] = Counter()
    for run in runs:
        held[run.job.client] += run.places
    chosen = min(wanting, key=lambda run: held[run.job.client])
    client = chosen.job.client
    return None if any(held[each] < held[client] for each in waiting if each != client) else chosen
