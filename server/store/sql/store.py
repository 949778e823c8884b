"""A store in the tables of an SQL database: each of its methods is a function of this folder, carried out by the one
thread that has the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from server.inputs.input import Hold, Input
from server.job import Job
from server.store import Claimed, Compose, Ending, Found, Made, Message, Recovered, Search
from server.store.sql import inputs, outbox, queries
from server.store.sql.changes import Changes
from server.store.sql.claim import claim, waiting
from server.store.sql.database import Database
from server.store.sql.thread import DatabaseThread, Operation

T = TypeVar("T")


class SqlStore:
    """A ``Store`` on the connection that ``connect`` returns, which is called on the thread that uses it."""

    def __init__(self, connect: Callable[[], Database], *, compose: Compose) -> None:
        self._changes = Changes(compose)
        self._thread = DatabaseThread(connect)

    async def open(self) -> None:
        await self._thread.start()

    async def close(self) -> None:
        await self._thread.stop()

    async def recover(self, *, max_attempts: int, now: float) -> Recovered:
        return await self._of_queue(lambda db: self._changes.recover(db, max_attempts, now))

    def add(self, job: Job, *, fingerprint: str, max_queued: int) -> Awaitable[Job]:
        return self._of_queue(lambda db: self._changes.add(db, job, fingerprint, max_queued))

    def claim(
        self, *, pictures: int, now: float, alone: bool, max_attempts: int, not_models: Collection[str] = ()
    ) -> Awaitable[Claimed]:
        def operation(db: Database) -> Claimed:
            ids = claim(db, pictures=pictures, alone=alone, max_attempts=max_attempts, not_models=not_models)
            jobs = [self._changes.start(db, id, now) for id in ids]
            return Claimed(jobs=jobs, waiting=waiting(db))

        return self._of_queue(operation)

    async def show(self, id: str, attempt: int, made: Made) -> Job | None:
        return await self._thread.do(lambda db: self._changes.show(db, id, attempt, made))

    def finish(self, id: str, attempt: int, ending: Ending) -> Awaitable[Job | None]:
        return self._thread.do(lambda db: self._changes.finish(db, id, attempt, ending))

    async def requeue(self, id: str, attempt: int, *, excused: bool, max_attempts: int, now: float) -> Job | None:
        return await self._thread.do(
            lambda db: self._changes.requeue(db, id, attempt, excused, max_attempts, now), of_queue=True
        )

    async def cancel(self, id: str, now: float, *, keep: bool = False) -> Job | None:
        return await self._of_queue(lambda db: self._changes.cancel(db, id, now, keep))

    async def get(self, id: str) -> Job | None:
        return await self._thread.do(lambda db: queries.get(db, id))

    async def find(self, search: Search) -> Found:
        return await self._thread.do(lambda db: queries.find(db, search))

    async def jobs_ahead(self, ids: Collection[str]) -> dict[str, int]:
        return await self._thread.do(lambda db: queries.jobs_ahead(db, ids))

    async def kept_pictures(self, tokens: Collection[str]) -> dict[str, frozenset[str]]:
        return await self._thread.do(lambda db: queries.kept_pictures(db, tokens))

    async def expired(self, *, before: float | None, keep: int | None, limit: int) -> list[Job]:
        return await self._thread.do(lambda db: queries.expired(db, before, keep, limit))

    async def delete(self, ids: Collection[str]) -> int:
        return await self._of_queue(lambda db: queries.delete(db, ids))

    async def drop_picture(self, id: str, name: str) -> Job | None:
        return await self._of_queue(lambda db: queries.drop_picture(db, id, name))

    async def post(self, messages: Sequence[Message]) -> None:
        await self._thread.do(lambda db: outbox.post(db, messages))

    async def due(
        self, *, now: float, limit: int, per_host: int, per_client: int, under_way: Collection[Message]
    ) -> list[Message]:
        busy = list(under_way)
        return await self._thread.do(lambda db: outbox.due(db, now, limit, per_host, per_client, busy))

    async def next_due(self) -> float | None:
        return await self._thread.do(outbox.next_due)

    async def delivered(self, id: str) -> None:
        await self._thread.do(lambda db: outbox.delivered(db, id))

    async def postpone(self, id: str, due: float) -> None:
        await self._thread.do(lambda db: outbox.postpone(db, id, due))

    async def identity(self) -> str:
        return await self._thread.do(inputs.identity)

    async def keep_input(self, new: Input, client: str, *, quota: int | None) -> Input:
        return await self._of_queue(lambda db: inputs.keep(db, new, client, quota))

    async def hold_input(self, id: str, hold: Hold) -> Input:
        return await self._of_queue(lambda db: inputs.hold(db, id, hold))

    async def inputs(self, ids: Collection[str]) -> dict[str, Input]:
        return await self._thread.do(lambda db: inputs.find(db, ids))

    async def held_inputs(self, owner: str) -> dict[str, Input]:
        return await self._thread.do(lambda db: inputs.held(db, owner))

    async def release_input(self, owner: str, name: str) -> bool:
        return await self._thread.do(lambda db: inputs.release(db, owner, name))

    async def take_unused_inputs(self, *, calls_before: float, uploads_before: float | None, limit: int) -> list[Input]:
        return await self._thread.do(
            lambda db: inputs.take_unused(db, calls_before, uploads_before, limit), of_queue=True
        )

    def _of_queue(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Carry out what changes the queue, or what its jobs need, while no other process does."""
        return self._thread.do(operation, of_queue=True)
