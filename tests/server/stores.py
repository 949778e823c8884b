"""Stores for tests, with short forms of the calls that tests make most."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from server.backends.instant import InstantBackend
from server.job import Job
from server.queue.accepting import job_for
from server.store import Ending, Message, Moment, Search, Store
from server.store.memory.store import MemoryStore
from server.store.postgres.store import PostgresStore
from server.store.sqlite import schema
from server.store.sqlite.store import SqliteStore
from tests.server.postgres import Postgres
from tests.server.queues import new, settings_in

T = TypeVar("T")

SUCCESS = Ending(state="succeeded", finished=5.0)


def described(job: Job, moment: Moment) -> list[Message]:
    """Return one message that names the moment, the state and the attempt."""
    text = f"{moment} {job.state} {job.attempt}"
    id = f"{job.id}-{job.attempt}-{moment}"
    return [
        Message(
            id=id, job=job.id, client=job.client, moment=moment, url="http://e.org", body=text, created=1.0, due=1.0
        )
    ]


@dataclass(frozen=True)
class Kept:
    """Jobs that outlive the stores which a test opens on them, one after the other."""

    make: Callable[[], Store]

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """Open a store on what is kept, until the end of the block."""
        store = self.make()
        await store.open()
        try:
            yield store
        finally:
            await store.close()


def kept_in_memory() -> Kept:
    """Return an empty ``MemoryStore``, which is opened again and again."""
    store = MemoryStore(compose=described)
    return Kept(lambda: store)


def kept_in_sqlite(folder: Path) -> Kept:
    """Return an empty database file below ``folder``."""
    return Kept(lambda: SqliteStore(folder / "jobs.sqlite", compose=described))


def kept_in_postgres(server: Postgres) -> Kept:
    """Return an empty database of ``server``."""
    url = server.database()
    return Kept(lambda: PostgresStore(url, compose=described))


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    """Open the SQLite store in ``folder``, until the end of the block."""
    async with kept_in_sqlite(folder).opened() as store:
        assert isinstance(store, SqliteStore)
        yield store


def job(**named: Any) -> Job:
    """Return a job that could be accepted."""
    settings = settings_in(Path("nowhere"))
    return job_for(new(**named), settings, InstantBackend())


async def add(store: Store, wanted: Job | None = None, print_: str = "", most: int = 1000) -> Job:
    return await store.add(wanted or job(), fingerprint=print_, max_queued=most)


async def claim(store: Store, pictures: int = 1, **named: Any) -> list[Job]:
    values: dict[str, Any] = {"now": 2.0, "alone": True, "max_attempts": 3} | named
    return (await store.claim(pictures=pictures, **values)).jobs


async def due(store: Store, now: float = 1e9, **named: Any) -> list[Message]:
    values: dict[str, Any] = {"limit": 16, "per_host": 4, "per_client": 100, "under_way": []} | named
    return await store.due(now=now, **values)


async def posted(store: Store) -> list[Message]:
    """Take all messages out of the outbox, the longest due first."""
    found: list[Message] = []
    while messages := await due(store, limit=1000, per_host=1000, per_client=1000):
        for message in messages:
            await store.delivered(message.id)
        found += messages
    return found


async def again(store: Store, one: Job, *, excused: bool = False) -> Job | None:
    return await store.requeue(one.id, one.attempt, excused=excused, max_attempts=3, now=3.0)


async def found(store: Store, **named: Any) -> list[Job]:
    """Return the jobs of a search, the oldest first."""
    return (await store.find(Search(**({"newest_first": False} | named)))).jobs


async def ids_of(store: Store, **named: Any) -> list[str]:
    """Return the ids of a search's jobs, of the queued ones if the test does not say otherwise."""
    return [each.id for each in await found(store, **({"states": ["queued"]} | named))]


def message(n: int, host: str, job: str | None = None, client: str = "ann") -> Message:
    """Return message number ``n``, which is due at second ``n``."""
    url, job = f"http://{host}/hook", job or f"j{n}"
    return Message(id=f"m{n}", job=job, client=client, moment="finished", url=url, body="{}", created=n, due=n)


def database_of_version(folder: Path, version: int) -> sqlite3.Connection:
    """Create a database as a server with schema ``version`` left it."""
    database = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None)
    database.executescript("".join(schema._VERSIONS[:version]) + f"PRAGMA user_version = {version};")
    return database


def values_in(folder: Path, query: str, column: int = 0) -> list[Any]:
    """Return one column of a query's rows, read from the database file by a connection of its own."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        return [row[column] for row in database.execute(query)]


async def in_database(store: Store, operation: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``operation`` on the SQLite store's own connection and thread: the one place where tests reach inside it."""
    assert isinstance(store, SqliteStore)
    return await store._thread.do(operation)
