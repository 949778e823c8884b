"""A store on a database of the test's own, and what tests ask of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from server.backends.instant import InstantBackend
from server.job import Job
from server.queue.accepting import job_for
from server.store import (
    Message,
    Moment,
    Outcome,
    Search,
)
from server.store.sqlite import schema
from server.store.sqlite.rows import message_of
from server.store.sqlite.store import SqliteStore
from tests.server.queues import new, settings_in

SUCCESS = Outcome(state="succeeded", finished=5.0)


def told(job: Job, moment: Moment) -> list[Message]:
    """One message that names the attempt."""
    text = f"{moment} {job.state} {job.attempt}"
    id = f"{job.id}-{job.attempt}-{moment}"
    return [
        Message(
            id=id, job=job.id, client=job.client, moment=moment, url="http://e.org", body=text, created=1.0, due=1.0
        )
    ]


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder / "jobs.sqlite", compose=told)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def job(**named: Any) -> Job:
    settings = settings_in(Path("nowhere"))
    return job_for(new(**named), settings, InstantBackend())


async def add(store: SqliteStore, wanted: Job | None = None, print_: str = "", most: int = 1000) -> Job:
    return await store.add(wanted or job(), fingerprint=print_, max_queued=most)


async def claim(store: SqliteStore, pictures: int = 1, **named: Any) -> list[Job]:
    values: dict[str, Any] = {"now": 2.0, "alone": True, "max_attempts": 3} | named
    return (await store.claim(pictures=pictures, **values)).jobs


async def messages_in(store: Any) -> list[Message]:
    """All that is in the outbox, the longest due first."""
    found: list[Message] = await store._thread.do(
        lambda db: [message_of(row) for row in db.execute("SELECT * FROM outbox ORDER BY due")]
    )
    return found


async def due(store: SqliteStore, now: float = 1e9, **named: Any) -> list[Message]:
    values: dict[str, Any] = {"limit": 16, "per_host": 4, "per_client": 100, "under_way": []} | named
    return await store.due(now=now, **values)


async def again(store: SqliteStore, one: Job, *, excused: bool = False) -> Job | None:
    return await store.requeue(one.id, one.attempt, excused=excused, max_attempts=3, now=3.0)


async def ids_of(store: SqliteStore, **named: Any) -> list[str]:
    return (await store.search(Search(**({"states": ["queued"], "newest_first": False} | named)))).ids


def message(n: int, host: str, job: str | None = None, client: str = "ann") -> Message:
    url, job = f"http://{host}/hook", job or f"j{n}"
    return Message(id=f"m{n}", job=job, client=client, moment="finished", url=url, body="{}", created=n, due=n)


def database_of_version(folder: Path, version: int) -> sqlite3.Connection:
    database = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None)
    database.executescript("".join(schema._VERSIONS[:version]) + f"PRAGMA user_version = {version};")
    return database
