"""One attempt at a job: it gives the job's tasks to the backend, one after the other, as slots become free.

Knows no store and no events.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from server.backends.protocol import Backend
from server.inputs.inputs import Inputs
from server.job import Job

if TYPE_CHECKING:
    from engine import GenerationResult, Progress

    Listener = Callable[[int, Progress], None]
    """A function that is called with a task's number and where it stands."""


class Attempt:
    """One run of a job. A slot is room for one picture on the backend."""

    def __init__(self, job: Job, inputs: Inputs, *, slots_at_end: int) -> None:
        """``slots_at_end``: the most slots that it holds while its pictures are written, after the backend is done."""
        self.job = job
        self._inputs = inputs
        self._slots_at_end = slots_at_end
        self.loading: set[int] = set()
        """The numbers of the tasks that wait for their checkpoint; they hold no slot."""
        self.work: asyncio.Task[list[GenerationResult]] | None = None
        """The coroutine's task that carries out the job's tasks."""
        self.task: asyncio.Task[None] | None = None
        """The task that sees the attempt through to the job's row."""
        self._left = deque(range(len(job.tasks)))
        self._given: set[int] = set()
        self._doors = [asyncio.Event() for _ in job.tasks]

    @property
    def slots(self) -> int:
        """The number of slots that the attempt holds."""
        if not self._left and not self._given:
            return min(self.job.pictures_asked, self._slots_at_end)
        return sum(self.job.tasks[number].pictures for number in self._given - self.loading)

    @property
    def wants_slots(self) -> bool:
        """Whether there is a task that could be given to the backend."""
        return bool(self._left) and not self.loading

    def start_next(self) -> None:
        """Let the next task start."""
        number = self._left.popleft()
        self._given.add(number)
        self._doors[number].set()

    def cancel(self) -> None:
        """Stop the tasks, as far as there are any."""
        if self.work is not None:
            self.work.cancel()

    async def carry_out(self, backend: Backend, listen: Listener, ended: Callable[[], None]) -> list[GenerationResult]:
        """Return the results of all tasks, each of which starts when ``start_next`` says so.

        ``ended`` is called at the end of each one. Raises what the first task that failed raised, after cancelling
        the others.
        """
        numbers = range(len(self.job.tasks))
        tasks = [asyncio.create_task(self._carry_out(number, backend, listen, ended)) for number in numbers]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _carry_out(
        self, number: int, backend: Backend, listen: Listener, ended: Callable[[], None]
    ) -> GenerationResult:
        await self._doors[number].wait()
        try:
            task = self.job.tasks[number]
            workflow = task.workflow  # an older version may have accepted what this one refuses
            inputs = await self._inputs.read_all(task.inputs)
            return await backend.run(workflow, lambda progress: listen(number, progress), self.job.client, inputs)
        finally:
            self._given.discard(number)
            self.loading.discard(number)
            ended()


def next_attempt(attempts: Collection[Attempt], waiting: Collection[str]) -> Attempt | None:
    """Return the attempt whose next task gets a free slot: the client that holds the fewest slots goes first.

    None if no attempt wants a slot, or if one of the clients ``waiting`` with a queued job holds fewer.
    """
    wanting = [attempt for attempt in attempts if attempt.wants_slots]
    if not wanting:
        return None
    held: Counter[str] = Counter()
    for attempt in attempts:
        held[attempt.job.client] += attempt.slots
    chosen = min(wanting, key=lambda attempt: held[attempt.job.client])
    client = chosen.job.client
    return None if any(held[each] < held[client] for each in waiting if each != client) else chosen
