"""Begins queued jobs and carries them out on the backend. Lives on the event loop.

Knows no dialect and accepts nothing; what comes of an attempt is ``finishing``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from engine import Cancelled, EngineClosed
from server.backends.protocol import Backend
from server.job import Job
from server.queue.attempt import Run, next_run
from server.queue.events import Hub
from server.queue.finishing import Finishing
from server.store import Claimed, Store, StoreFailed
from server.webhooks.delivery import Webhooks

if TYPE_CHECKING:
    from engine import Progress

_log = logging.getLogger(__name__)

_NOT_READY_SECONDS = 0.05
_PAUSE_SECONDS = 1.0


class Runner:
    """Keeps as many requests going as the backend has places for."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        finishing: Finishing,
        hub: Hub,
        webhooks: Webhooks,
        max_attempts: int,
    ) -> None:
        self._store = store
        self._backend = backend
        self._finishing = finishing
        self._hub = hub
        self._webhooks = webhooks
        self._max_attempts = max_attempts
        self._runs: dict[str, Run] = {}
        self._wanted = asyncio.Event()
        self._queued = True  # as far as is known here
        self._waiting: set[str] = set()
        self._claiming = False
        self._asked: tuple[asyncio.Future[Claimed], int] | None = None
        """What the store was asked for, and for how many pictures, until somebody waits for it."""
        self._beginning: asyncio.Task[None] | None = None
        self._cancelled_early: set[tuple[str, int]] = set()
        self._hurried = asyncio.Event()

    def start(self) -> None:
        self._beginning = asyncio.create_task(self._begin_for_ever())

    def wake(self, client: str | None = None) -> None:
        """There is something in the queue, or will be before anybody looks; of ``client``, if that is known."""
        self._queued = True
        if client is not None:
            self._waiting.add(client)
        self._wanted.set()

    def begin(self, client: str) -> None:
        """A job of ``client`` is being accepted: ask for it at once, so that one transaction accepts and begins it."""
        self.wake(client)
        if self._backend.ready and not self._finishing.closing:
            self._hand_out()
            self._ask()

    def cancel(self, job: Job) -> None:
        """The row of this running job says so: let the backend stop."""
        run = self._runs.get(job.id)
        if run is None:
            self._cancelled_early.add((job.id, job.attempt))  # begun in the database, and not known here yet
        elif run.job.attempt == job.attempt and run.work is not None:
            run.work.cancel()

    def hurry(self) -> None:
        """Let ``close`` wait no longer."""
        self._hurried.set()

    async def close(self, drain: float) -> None:
        """Begin nothing more; give what runs ``drain`` seconds, then put it back into the queue."""
        self._finishing.closing = True
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
            await self._put_back()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if tasks and drain > 0:
            hurried = asyncio.ensure_future(self._hurried.wait())
            ended: asyncio.Future[Any] = asyncio.gather(*tasks)
            await asyncio.wait([ended, hurried], timeout=drain, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        for run in list(self._runs.values()):
            if run.work is not None:
                run.work.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._begin()
            except Exception as error:  # whatever it was, the next jobs are to be begun
                _log.error("no job could be begun: %s", error, exc_info=not isinstance(error, StoreFailed))
                await asyncio.sleep(_PAUSE_SECONDS)
                self.wake()

    async def _begin(self) -> None:
        """Begin what there are places for."""
        self._hand_out()
        while self._queued and self._asked is None and not self._backend.ready:
            await asyncio.sleep(_NOT_READY_SECONDS)
        self._ask()
        if self._asked is None:
            return
        claiming, places = self._asked
        filled = False
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            raise  # what was claimed meanwhile is put back by ``close``
        except BaseException:
            self._asked = None
            raise
        else:
            self._asked = None
            self._queued |= bool(claimed.waiting)
            self._waiting |= claimed.waiting
            filled = sum(job.pictures_asked for job in claimed.jobs) >= places
            for job in claimed.jobs:
                self._launch(job)
        finally:
            self._claiming = False
            self._hand_out(to_all=not filled)

    def _ask(self) -> None:
        """Ask the store for as many queued jobs as there are places for, unless that is under way."""
        places = self._places()
        if not self._queued or self._claiming or places <= 0 or self._one_is_solitary():
            return
        loading = Counter(run.job.model for run in self._runs.values() if run.loading)
        held_up = [model for model, jobs in loading.items() if jobs >= self._backend.capacity]
        self._queued = False  # unless it turns out otherwise, or somebody says so meanwhile
        self._waiting.clear()
        self._claiming = True
        claiming = asyncio.ensure_future(
            self._store.claim(
                pictures=places,
                now=time.time(),
                alone=not self._runs,
                max_attempts=self._max_attempts,
                not_models=held_up,
            )
        )
        self._asked = claiming, places

    async def _put_back(self) -> None:
        """Nobody begins any more what the store was asked for: back into the queue with it."""
        if self._asked is None:
            return
        (claiming, _), self._asked = self._asked, None
        try:
            claimed = await claiming
        except StoreFailed as error:
            _log.error("no job could be begun: %s", error)
            return
        for job in claimed.jobs:
            await self._finishing.again(job, excused=True)

    def _places(self) -> int:
        """Of the backend's, for pictures, that are free."""
        return self._backend.capacity - sum(run.places for run in self._runs.values())

    def _hand_out(self, *, to_all: bool = False) -> None:
        """Let requests of jobs that run begin where there are places; with ``to_all``, also before queued jobs that
        have a better claim to them, because none of those can begin now."""
        if self._claiming:
            return
        waiting = () if to_all or self._finishing.closing or self._one_is_solitary() else self._waiting
        while self._places() > 0 and (run := next_run(self._runs.values(), waiting)) is not None:
            run.give()

    def _places_changed(self) -> None:
        """A request or a job has ended, or a checkpoint is there."""
        self._hand_out()
        self._wanted.set()

    def _one_is_solitary(self) -> bool:
        return any(self._solitary(run.job) for run in self._runs.values())

    def _solitary(self, job: Job) -> bool:
        """Whether it runs alone, being on its last attempt after others have died."""
        return 1 < job.attempt - job.excused >= self._max_attempts

    def _launch(self, job: Job) -> None:
        run = Run(job, at_end=max(1, self._backend.capacity // 2))
        run.give()  # however large it is
        self._runs[job.id] = run
        self._hub.started(job)
        self._webhooks.happened(job)
        run.work = asyncio.create_task(
            run.carry_out(
                self._backend, lambda number, progress: self._listen(run, number, progress), self._places_changed
            )
        )
        run.task = asyncio.create_task(self._see_through(run))
        if (job.id, job.attempt) in self._cancelled_early:
            self._cancelled_early.remove((job.id, job.attempt))
            run.work.cancel()

    def _listen(self, run: Run, number: int, progress: Progress) -> None:
        if progress.stage == "loading":
            run.loading.add(number)
            self._wanted.set()  # it holds no place as long as it waits
        elif number in run.loading:
            run.loading.discard(number)
            self._places_changed()
        self._hub.progressed(
            run.job, number, progress.stage, step=progress.step, steps=progress.steps, preview=progress.preview
        )
        self._webhooks.progressed(run.job)

    async def _see_through(self, run: Run) -> None:
        """An attempt to its end, whatever happens."""
        try:
            try:
                await self._attempt(run)
            except Exception as error:  # a defect of ours, or no memory for the pictures
                await self._finishing.failed(run.job, error)
        except Exception:
            _log.exception("a job could not be settled", extra={"job": run.job.id})
        finally:
            self._runs.pop(run.job.id, None)
            self._places_changed()

    async def _attempt(self, run: Run) -> None:
        assert run.work is not None
        await asyncio.wait({run.work})
        error = None if run.work.cancelled() else run.work.exception()
        if run.work.cancelled() or isinstance(error, EngineClosed | Cancelled):
            # Why, the row says: it was cancelled, or it is to be carried out again.
            again = await self._finishing.again(run.job, excused=self._finishing.closing)
            if again is not None and not again.done:
                self.wake(again.client)
        elif error is not None:
            await self._finishing.failed(run.job, error)
        else:
            await self._finishing.keep(run.job, run.work.result(), len(self._runs))
