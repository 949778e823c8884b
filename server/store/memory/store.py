"""A store in memory, for tests and trials: it keeps every promise of ``Store`` but to outlive the process.

Its jobs and messages last as long as the object, over any number of ``open`` and ``close``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import TypeVar

from server.inputs.input import Hold, Input
from server.job import FINISHED, Job
from server.store.memory.inputs import MemoryInputs
from server.store.memory.outbox import MemoryOutbox
from server.store.memory.rows import Row, copy_of, fits, page_of
from server.store.memory.turns import Turns
from server.store.protocol import (
    Claimed,
    Compose,
    Ending,
    Found,
    IdTaken,
    KeyConflict,
    Made,
    Message,
    Moment,
    QueueFull,
    Recovered,
    Search,
    StoreClosed,
)
from server.store.rules import ending_of_dead_attempt

T = TypeVar("T")


class MemoryStore:
    """A ``Store`` that writes nothing to disk."""

    def __init__(self, *, compose: Compose = lambda job, moment: ()) -> None:
        self._compose = compose
        self._rows: dict[str, Row] = {}
        """All jobs by id, in the order of acceptance."""
        self._sequence = 0
        self._turns = Turns()
        self._outbox = MemoryOutbox()
        self._identity = secrets.token_hex(8)
        self._inputs = MemoryInputs()
        self._opened = False

    async def open(self) -> None:
        self._opened = True

    async def close(self) -> None:
        self._opened = False

    async def recover(self, *, max_attempts: int, now: float) -> Recovered:
        def recover() -> Recovered:
            left = [self._again(job, max_attempts, now) for job in list(self._jobs()) if job.state == "running"]
            queued = [job for job in self._jobs() if job.state == "queued"]
            return Recovered(queued=queued, ended=[job for job in left if job.done])

        return await self._do(recover)

    def add(self, job: Job, *, fingerprint: str, max_queued: int) -> Awaitable[Job]:
        return self._do(lambda: self._add(job, fingerprint, max_queued))

    def claim(
        self, *, pictures: int, now: float, alone: bool, max_attempts: int, not_models: Collection[str] = ()
    ) -> Awaitable[Claimed]:
        def claim() -> Claimed:
            queued = [job for job in self._jobs() if job.state == "queued" and job.model not in not_models]
            jobs = [
                self._keep(dataclasses.replace(job, state="running", attempt=job.attempt + 1, started=now), "started")
                for job in self._turns.choose(queued, pictures=pictures, alone=alone, max_attempts=max_attempts)
            ]
            return Claimed(jobs=jobs, waiting=frozenset(job.client for job in self._jobs() if job.state == "queued"))

        return self._do(claim)

    async def show(self, id: str, attempt: int, made: Made) -> Job | None:
        def show() -> Job | None:
            job = self._running(id, attempt)
            return None if job is None else self._keep(dataclasses.replace(job, **vars(made)))

        return await self._do(show)

    def finish(self, id: str, attempt: int, ending: Ending) -> Awaitable[Job | None]:
        return self._do(lambda: self._finish(self._running(id, attempt), ending))

    async def requeue(self, id: str, attempt: int, *, excused: bool, max_attempts: int, now: float) -> Job | None:
        def requeue() -> Job | None:
            job = self._running(id, attempt)
            if job is None:
                return None
            return self._again(dataclasses.replace(job, excused=job.excused + excused), max_attempts, now)

        return await self._do(requeue)

    async def cancel(self, id: str, now: float, *, keep: bool = False) -> Job | None:
        def cancel() -> Job | None:
            job = self._rows[id].job if id in self._rows else None
            if job is None or job.done:
                return job
            marked = dataclasses.replace(
                job, cancel_requested=job.cancel_requested or not keep, interrupted=job.interrupted or keep
            )
            if job.state == "running":
                return self._keep(marked)
            return self._keep(dataclasses.replace(marked, state="cancelled", finished=now), "finished")

        return await self._do(cancel)

    async def get(self, id: str) -> Job | None:
        return await self._do(lambda: copy_of(self._rows[id]) if id in self._rows else None)

    async def find(self, search: Search) -> Found:
        return await self._do(lambda: page_of([row for row in self._rows.values() if fits(row.job, search)], search))

    async def jobs_ahead(self, ids: Collection[str]) -> dict[str, int]:
        def ahead() -> dict[str, int]:
            order = self._turns.order([job for job in self._jobs() if job.state == "queued"])
            return {job.id: number for number, job in enumerate(order) if job.id in wanted}

        wanted = set(ids)
        return await self._do(ahead)

    async def kept_pictures(self, tokens: Collection[str]) -> dict[str, frozenset[str]]:
        def kept() -> dict[str, frozenset[str]]:
            jobs = (job for job in self._jobs() if job.token in wanted)
            return {job.token: frozenset(picture.name for picture in job.pictures) for job in jobs}

        wanted = set(tokens)
        return await self._do(kept)

    async def expired(self, *, before: float | None, keep: int | None, limit: int) -> list[Job]:
        def expired() -> list[Job]:
            ended = sorted((job.finished, job.sequence, job) for job in self._jobs() if job.finished is not None)
            beyond = 0 if keep is None else len(ended) - keep
            old = (
                job
                for number, (finished, _, job) in enumerate(ended)
                if number < beyond or (before is not None and finished < before)
            )
            return [job for job, _ in zip(old, range(limit), strict=False)]

        return await self._do(expired)

    async def delete(self, ids: Collection[str]) -> int:
        def delete() -> int:
            gone = [id for id in set(ids) if id in self._rows and self._rows[id].job.done]
            for id in gone:
                del self._rows[id]
            self._turns.forget_all_but({job.client for job in self._jobs()})
            return len(gone)

        return await self._do(delete)

    async def drop_picture(self, id: str, name: str) -> Job | None:
        def drop() -> Job | None:
            job = self._rows[id].job if id in self._rows else None
            if job is None or not job.done:
                return None
            left = tuple(picture for picture in job.pictures if picture.name != name)
            return None if left == job.pictures else self._keep(dataclasses.replace(job, pictures=left))

        return await self._do(drop)

    async def post(self, messages: Sequence[Message]) -> None:
        await self._do(lambda: self._outbox.post(messages))

    async def due(
        self, *, now: float, limit: int, per_host: int, per_client: int, under_way: Collection[Message]
    ) -> list[Message]:
        return await self._do(lambda: self._outbox.due(now, limit, per_host, per_client, under_way))

    async def next_due(self) -> float | None:
        return await self._do(self._outbox.next_due)

    async def delivered(self, id: str) -> None:
        await self._do(lambda: self._outbox.delivered(id))

    async def postpone(self, id: str, due: float) -> None:
        await self._do(lambda: self._outbox.postpone(id, due))

    async def identity(self) -> str:
        return await self._do(lambda: self._identity)

    async def keep_input(self, new: Input, client: str, *, quota: int | None) -> Input:
        return await self._do(lambda: self._inputs.keep(new, client, quota))

    async def hold_input(self, id: str, hold: Hold) -> Input:
        return await self._do(lambda: self._inputs.hold(id, hold))

    async def inputs(self, ids: Collection[str]) -> dict[str, Input]:
        return await self._do(lambda: self._inputs.find(ids))

    async def held_inputs(self, owner: str) -> dict[str, Input]:
        return await self._do(lambda: self._inputs.held(owner))

    async def release_input(self, owner: str, name: str) -> bool:
        return await self._do(lambda: self._inputs.release(owner, name))

    async def take_unused_inputs(self, *, calls_before: float, uploads_before: float | None, limit: int) -> list[Input]:
        return await self._do(lambda: self._inputs.take_unused(self._jobs(), calls_before, uploads_before, limit))

    def _do(self, operation: Callable[[], T]) -> asyncio.Future[T]:
        """Carry ``operation`` out at once; the future has its result or its error."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            if not self._opened:
                raise StoreClosed("the store is closed")
            future.set_result(operation())
        except Exception as error:
            future.set_exception(error)
        return future

    def _jobs(self) -> Iterator[Job]:
        return (row.job for row in self._rows.values())

    def _running(self, id: str, attempt: int) -> Job | None:
        row = self._rows.get(id)
        current = row is not None and (row.job.state, row.job.attempt) == ("running", attempt)
        return row.job if row is not None and current else None

    def _add(self, job: Job, fingerprint: str, max_queued: int) -> Job:
        for row in self._rows.values():
            key = (row.job.client, row.job.idempotency_key)
            if job.idempotency_key is not None and key == (job.client, job.idempotency_key):
                if row.fingerprint != fingerprint:
                    raise KeyConflict
                return copy_of(row)
        if sum(each.state == "queued" for each in self._jobs()) >= max_queued:
            raise QueueFull
        if job.id in self._rows:
            raise IdTaken
        self._inputs.pin(job)
        extra = json.dumps(dict(job.extra))
        self._sequence += 1
        kept = dataclasses.replace(job, sequence=self._sequence, extra=json.loads(extra))
        row = self._rows[job.id] = Row(job=kept, fingerprint=fingerprint, extra=extra)
        return copy_of(row)

    def _keep(self, job: Job, *moments: Moment) -> Job:
        """Replace a job's row, and post what its webhook asked to hear."""
        row = self._rows[job.id] = dataclasses.replace(self._rows[job.id], job=job)
        for moment in moments:
            if job.webhook is not None and moment in job.webhook.events:
                self._outbox.post(self._compose(job, moment))
        return copy_of(row)

    def _finish(self, job: Job | None, ending: Ending) -> Job | None:
        if job is None:
            return None
        ended = dataclasses.replace(job, **vars(ending))
        if job.cancel_requested:
            ended = dataclasses.replace(ended, state="cancelled", pictures=(), failure=None)
        assert ended.state in FINISHED
        return self._keep(ended, *(("output",) if ended.pictures else ()), "finished")

    def _again(self, job: Job, max_attempts: int, now: float) -> Job:
        """Queue a running job whose attempt is dead, or end it."""
        ending = ending_of_dead_attempt(job, max_attempts, now)
        ended = None if ending is None else self._finish(job, ending)
        return ended or self._keep(dataclasses.replace(job, state="queued", **vars(Made())))
