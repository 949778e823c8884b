"""Claims queued jobs and has them carried out on the backend. Lives on the event loop.

Knows no dialect and accepts nothing; how an attempt ends is the business of ``finishing``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from engine import Cancelled, EngineClosed
from server.backends.protocol import Backend
from server.inputs.inputs import Inputs
from server.job import Job
from server.queue.attempt import Attempt, next_attempt
from server.queue.claiming import Claiming
from server.queue.finishing import Finishing
from server.queue.hub import Hub
from server.queue.output import Output
from server.store import Claimed, Store, StoreFailed
from server.store.rules import under_suspicion
from server.webhooks.delivery import Webhooks

if TYPE_CHECKING:
    from engine import Progress

_log = logging.getLogger(__name__)

_NOT_READY_SECONDS = 0.05
_PAUSE_SECONDS = 1.0


class Dispatcher:
    """Keeps as many requests running as the backend has slots for."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        inputs: Inputs,
        finishing: Finishing,
        hub: Hub,
        webhooks: Webhooks,
        max_attempts: int,
    ) -> None:
        self._store = store
        self._backend = backend
        self._inputs = inputs
        self._finishing = finishing
        self._hub = hub
        self._webhooks = webhooks
        self._max_attempts = max_attempts
        self._attempts: dict[str, Attempt] = {}
        self._claiming = Claiming.CLOSED
        self._claim: asyncio.Future[Claimed] | None = None
        """The claim that is under way."""
        self._waiting: set[str] = set()
        """The clients that are known to have queued jobs."""
        self._retry: asyncio.TimerHandle | None = None
        self._cancelled_early: set[tuple[str, int]] = set()
        self._hurried = asyncio.Event()

    def start(self) -> None:
        """Start to claim jobs."""
        self._claiming = Claiming.QUEUED
        self._advance()

    def queued(self, client: str) -> None:
        """Claim a job of ``client`` as soon as possible.

        May be called right after ``Store.add``, before that is committed: then one transaction accepts and starts it.
        """
        self._waiting.add(client)
        self._claiming = self._claiming.when_queued()
        self._advance()

    def cancel(self, job: Job) -> None:
        """Let the backend stop a running job, whose row says already that it is to be cancelled."""
        attempt = self._attempts.get(job.id)
        if attempt is None:
            self._cancelled_early.add((job.id, job.attempt))  # started in the database, and not known here yet
        elif attempt.job.attempt == job.attempt:
            attempt.cancel()

    def skip(self, id: str) -> bool:
        """Give up those of a running job's tasks that are under way, if others follow; False if none do."""
        attempt = self._attempts.get(id)
        return attempt is not None and attempt.skip()

    def hurry(self) -> None:
        """Let ``close`` wait no longer."""
        self._hurried.set()

    async def close(self, drain: float) -> None:
        """Claim nothing more; give running jobs ``drain`` seconds to end, then queue them again."""
        self._finishing.closing = True
        self._claiming = Claiming.CLOSED
        if self._retry is not None:
            self._retry.cancel()
        await self._put_back()
        tasks = [attempt.task for attempt in self._attempts.values() if attempt.task is not None]
        if tasks and drain > 0:
            hurried = asyncio.ensure_future(self._hurried.wait())
            ended: asyncio.Future[Any] = asyncio.gather(*tasks)
            await asyncio.wait([ended, hurried], timeout=drain, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        for attempt in list(self._attempts.values()):
            attempt.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _advance(self) -> None:
        """Fill free slots: with requests of running jobs, then with queued jobs."""
        self._hand_out()
        if self._claiming is not Claiming.QUEUED or self._slots() <= 0 or self._one_is_solitary():
            return
        if self._backend.ready:
            self._ask()
        else:
            self._advance_in(_NOT_READY_SECONDS)

    def _advance_in(self, seconds: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(seconds, self._advance)

    def _ask(self) -> None:
        """Ask the store for queued jobs that fill the free slots."""
        slots = self._slots()
        loading = Counter(attempt.job.model for attempt in self._attempts.values() if attempt.loading)
        self._claim = asyncio.ensure_future(
            self._store.claim(
                pictures=slots,
                now=time.time(),
                alone=not self._attempts,
                max_attempts=self._max_attempts,
                not_models=[model for model, jobs in loading.items() if jobs >= self._backend.capacity],
            )
        )
        self._claiming = Claiming.CLAIMING
        self._waiting.clear()
        self._claim.add_done_callback(lambda claim: self._claimed(claim, slots))

    def _claimed(self, claim: asyncio.Future[Claimed], slots: int) -> None:
        """Start the jobs of a claim, unless ``close`` has taken it over."""
        if self._claim is not claim or claim.cancelled():
            return
        self._claim = None
        state, error = self._claiming, claim.exception()
        if error is not None:
            _log.error("no job could be claimed: %s", error, exc_info=None if isinstance(error, StoreFailed) else error)
            self._claiming = Claiming.QUEUED
            self._hand_out(to_all=True)
            self._advance_in(_PAUSE_SECONDS)
            return
        claimed = claim.result()
        self._waiting |= claimed.waiting
        self._claiming = state.when_claimed(left=bool(claimed.waiting))
        for job in claimed.jobs:
            self._launch(job)
        self._hand_out(to_all=sum(job.pictures_asked for job in claimed.jobs) < slots)
        if state is not Claiming.CLAIMING:
            self._advance()

    async def _put_back(self) -> None:
        """Queue again what a claim under way starts: no attempt follows any more."""
        claim, self._claim = self._claim, None
        if claim is None:
            return
        try:
            claimed = await claim
        except Exception as error:
            _log.error("no job could be claimed: %s", error)
            return
        for job in claimed.jobs:
            await self._finishing.again(self._finishing.output(job), excused=True)

    def _slots(self) -> int:
        """The number of the backend's slots that are free."""
        return self._backend.capacity - sum(attempt.slots for attempt in self._attempts.values())

    def _hand_out(self, *, to_all: bool = False) -> None:
        """Let requests of running jobs start as long as slots are free.

        With ``to_all``, clients with queued jobs do not go first, because none of those jobs can start now.
        """
        if self._claiming.under_way:
            return
        waiting = () if to_all or self._claiming is Claiming.CLOSED or self._one_is_solitary() else self._waiting
        while self._slots() > 0 and (attempt := next_attempt(self._attempts.values(), waiting)) is not None:
            attempt.start_next()

    def _slots_changed(self) -> None:
        """React to the end of a request or a job, and to a checkpoint that starts or ends loading."""
        self._claiming = self._claiming.when_slots_change()
        self._advance()

    def _one_is_solitary(self) -> bool:
        return any(
            under_suspicion(attempt.job.attempt - attempt.job.excused, self._max_attempts)
            for attempt in self._attempts.values()
        )

    def _launch(self, job: Job) -> None:
        attempt = self._attempts[job.id] = Attempt(job, self._inputs, capacity=self._backend.capacity)
        output = self._finishing.output(job)
        attempt.start_next()  # however large it is
        self._hub.started(job)
        self._webhooks.happened(job)
        attempt.work = asyncio.create_task(
            attempt.carry_out(
                self._backend,
                partial(self._listen, attempt, output),
                self._slots_changed,
                partial(self._finishing.keep, output),
            )
        )
        attempt.task = asyncio.create_task(self._see_through(attempt, output))
        if (job.id, job.attempt) in self._cancelled_early:
            self._cancelled_early.remove((job.id, job.attempt))
            attempt.cancel()

    def _listen(self, attempt: Attempt, output: Output, number: int, progress: Progress) -> None:
        if progress.made is not None:
            self._finishing.keep_early(output, number, progress.made)
        if progress.stage == "loading":
            attempt.loading.add(number)
            self._slots_changed()  # it holds no slot while it waits
        elif number in attempt.loading:
            attempt.loading.discard(number)
            self._slots_changed()
        self._hub.progressed(attempt.job, number, progress)
        self._webhooks.progressed(attempt.job)

    async def _see_through(self, attempt: Attempt, output: Output) -> None:
        """Bring an attempt to its end, whatever happens."""
        try:
            try:
                await self._end_of(attempt, output)
            except Exception as error:  # a defect of ours
                await self._finishing.failed(output, error)
        except Exception:
            _log.exception("a job could not be settled", extra={"job": attempt.job.id})
        finally:
            self._attempts.pop(attempt.job.id, None)
            self._slots_changed()

    async def _end_of(self, attempt: Attempt, output: Output) -> None:
        assert attempt.work is not None
        await asyncio.wait({attempt.work})
        await output.at_rest()
        error = None if attempt.work.cancelled() else attempt.work.exception()
        if output.complete or not (attempt.work.cancelled() or error):
            await self._finishing.succeeded(output, len(self._attempts))
        elif attempt.work.cancelled() or isinstance(error, EngineClosed | Cancelled):
            # the row says why: it was cancelled, or it is to be carried out again
            again = await self._finishing.again(output, excused=self._finishing.closing)
            if again is not None and not again.done:
                self.queued(again.client)
        elif error is not None:
            await self._finishing.failed(output, error)
