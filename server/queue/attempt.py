"""One attempt at a job: it gives the job's tasks to the backend, one after the other, as slots become free.

Knows no store and no events.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

from engine import BrokenCheckpoint, Cancelled
from server.backends.protocol import Backend
from server.inputs.inputs import Inputs
from server.job import Job

if TYPE_CHECKING:
    from engine import GenerationResult, Progress

    Listener = Callable[[int, Progress], None]
    """A function that is called with a task's number and where it stands."""
    Keep = Callable[[int, GenerationResult], Awaitable[None]]
    """A function that keeps the pictures of a task, by its number."""


class Attempt:
    """One run of a job. A slot is room for one picture on the backend."""

    def __init__(self, job: Job, inputs: Inputs, *, capacity: int) -> None:
        """``capacity``: the number of the backend's slots."""
        self.job = job
        self._inputs = inputs
        self._capacity = capacity
        self.loading: set[int] = set()
        """The numbers of the tasks that wait for their checkpoint; they hold no slot."""
        self.work: asyncio.Task[None] | None = None
        """The coroutine's task that carries out the job's tasks."""
        self.task: asyncio.Task[None] | None = None
        """The task that sees the attempt through to the job's row."""
        self._left = deque(range(len(job.tasks)))
        self._given: set[int] = set()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        """The coroutines' tasks of those that the backend has, by number."""
        self._writing: set[int] = set()
        """The numbers of the tasks that the backend is done with and whose pictures are being written."""
        self._skipped: set[int] = set()
        self._doors = [asyncio.Event() for _ in job.tasks]

    @property
    def slots(self) -> int:
        """The number of slots that the attempt holds.

        It holds some until its end, also while only its pictures are written, and further ones where more than a whole
        capacity of pictures waits to be written, so that a slow storage slows the backend down.
        """
        if not self._left and not self._given:
            return min(self.job.pictures_asked, max(1, self._capacity // 2))
        return self._pictures(self._given - self.loading) + max(0, self._pictures(self._writing) - self._capacity)

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

    def skip(self) -> bool:
        """Give up the tasks that the backend has, if others follow; False if none do."""
        if not self._left:
            return False
        self._skipped |= self._under_way.keys()
        for task in self._under_way.values():
            task.cancel()
        return True

    async def carry_out(self, backend: Backend, listen: Listener, ended: Callable[[], None], keep: Keep) -> None:
        """Carry out all tasks, each of which starts when ``start_next`` says so, and give ``keep`` their results.

        ``ended`` is called when a task has given slots back. Raises what the first task that failed raised, after
        cancelling the others.
        """
        numbers = range(len(self.job.tasks))
        tasks = [asyncio.create_task(self._carry_out(number, backend, listen, ended, keep)) for number in numbers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _carry_out(
        self, number: int, backend: Backend, listen: Listener, ended: Callable[[], None], keep: Keep
    ) -> None:
        await self._doors[number].wait()
        try:
            result = await self._result(number, backend, listen)
            if result is not None:
                self._writing.add(number)
        finally:
            self._given.discard(number)
            self.loading.discard(number)
            ended()
        if result is None:
            return
        try:
            await keep(number, result)
        finally:
            self._writing.discard(number)
            if self._left:
                ended()

    async def _result(self, number: int, backend: Backend, listen: Listener) -> GenerationResult | None:
        """Return the result of a task; None if it is skipped."""
        current = asyncio.current_task()
        assert current is not None
        self._under_way[number] = current
        try:
            task = self.job.tasks[number]
            workflow = task.workflow  # an older version may have accepted what this one refuses
            inputs = await self._inputs.read_all(task.inputs)
            return await backend.run(workflow, lambda progress: listen(number, progress), self.job.client, inputs)
        except BrokenCheckpoint as error:
            raise self.job.tasks[number].located(error) from None
        except (asyncio.CancelledError, Cancelled):
            if number not in self._skipped:
                raise
            return None
        finally:
            del self._under_way[number]

    def _pictures(self, numbers: Collection[int]) -> int:
        return sum(self.job.tasks[number].pictures for number in numbers)


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
