"""The store in one SQLite file, for one process: WAL, ``synchronous=FULL``, one thread that owns the connection."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Collection, Sequence
from pathlib import Path
from typing import IO

from server.inputs.input import Hold, Input
from server.job import Job
from server.store import Claimed, Compose, Ending, Found, Made, Message, Recovered, Search, StoreUnusable
from server.store.sqlite import inputs, outbox, queries
from server.store.sqlite.changes import Changes
from server.store.sqlite.claim import claim, waiting
from server.store.sqlite.schema import migrate
from server.store.sqlite.thread import DatabaseThread

_BUSY_SECONDS = 10.0


class SqliteStore:
    """A ``Store`` in an SQLite file, which is created, with its folder, if it is missing."""

    def __init__(self, path: Path, *, compose: Compose = lambda job, moment: ()) -> None:
        self._path = path
        self._changes = Changes(compose)
        self._lock: IO[str] | None = None
        self._thread = DatabaseThread(lambda: _connect(path))

    async def open(self) -> None:
        self._lock = await asyncio.to_thread(_locked, self._path)
        try:
            await self._thread.start()
        except BaseException:
            self._unlock()
            raise

    async def close(self) -> None:
        await self._thread.stop()
        self._unlock()

    async def recover(self, *, max_attempts: int, now: float) -> Recovered:
        return await self._thread.do(lambda db: self._changes.recover(db, max_attempts, now))

    def add(self, job: Job, *, fingerprint: str, max_queued: int) -> Awaitable[Job]:
        return self._thread.do(lambda db: self._changes.add(db, job, fingerprint, max_queued))

    def claim(
        self, *, pictures: int, now: float, alone: bool, max_attempts: int, not_models: Collection[str] = ()
    ) -> Awaitable[Claimed]:
        def operation(db: sqlite3.Connection) -> Claimed:
            ids = claim(db, pictures=pictures, alone=alone, max_attempts=max_attempts, not_models=not_models)
            jobs = [self._changes.start(db, id, now) for id in ids]
            return Claimed(jobs=jobs, waiting=waiting(db))

        return self._thread.do(operation)

    async def show(self, id: str, attempt: int, made: Made) -> Job | None:
        return await self._thread.do(lambda db: self._changes.show(db, id, attempt, made))

    def finish(self, id: str, attempt: int, ending: Ending) -> Awaitable[Job | None]:
        return self._thread.do(lambda db: self._changes.finish(db, id, attempt, ending))

    async def requeue(self, id: str, attempt: int, *, excused: bool, max_attempts: int, now: float) -> Job | None:
        return await self._thread.do(lambda db: self._changes.requeue(db, id, attempt, excused, max_attempts, now))

    async def cancel(self, id: str, now: float, *, keep: bool = False) -> Job | None:
        return await self._thread.do(lambda db: self._changes.cancel(db, id, now, keep))

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
        return await self._thread.do(lambda db: queries.delete(db, ids))

    async def drop_picture(self, id: str, name: str) -> Job | None:
        return await self._thread.do(lambda db: queries.drop_picture(db, id, name))

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
        return await self._thread.do(lambda db: inputs.keep(db, new, client, quota))

    async def hold_input(self, id: str, hold: Hold) -> Input:
        return await self._thread.do(lambda db: inputs.hold(db, id, hold))

    async def inputs(self, ids: Collection[str]) -> dict[str, Input]:
        return await self._thread.do(lambda db: inputs.find(db, ids))

    async def held_inputs(self, owner: str) -> dict[str, Input]:
        return await self._thread.do(lambda db: inputs.held(db, owner))

    async def release_input(self, owner: str, name: str) -> bool:
        return await self._thread.do(lambda db: inputs.release(db, owner, name))

    async def take_unused_inputs(self, *, calls_before: float, uploads_before: float | None, limit: int) -> list[Input]:
        return await self._thread.do(lambda db: inputs.take_unused(db, calls_before, uploads_before, limit))

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def _connect(path: Path) -> sqlite3.Connection:
    database = None
    try:
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        migrate(database, str(path))
    except (sqlite3.Error, StoreUnusable) as error:
        if database is not None:
            database.close()
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(f"database: {path} cannot be used as an SQLite database ({error})") from None
    return database


def _locked(path: Path) -> IO[str]:
    """Return a lock that the operating system releases when the process ends, however that happens.

    It lies beside the file itself, not beside a link to it. Raises ``StoreUnusable`` if another process holds it.
    """
    try:
        file = path.resolve()
        lock_path = file.with_name(file.name + ".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("a+")
    except OSError as error:
        raise StoreUnusable(f"database: {path} cannot be created or written to ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        who = f" (process {holder})" if holder else ""
        raise StoreUnusable(
            f"database: {path} is in use by another server{who}; stop that one, or name another database"
        ) from None
    with contextlib.suppress(OSError):  # only for the message above; a full disk is reported elsewhere
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    return lock
