"""Tests what the PostgreSQL store alone promises: it survives its server, and says why it cannot be used."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from server.addresses import without_secrets
from server.job import Job
from server.store import Search, StoreFailed, StoreUnusable
from server.store.postgres.store import PostgresStore
from tests.server.postgres import Postgres, postgres, programs
from tests.server.queues import request
from tests.server.stores import SUCCESS, add, claim, ids_of, job

pytestmark = pytest.mark.anyio


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
async def test_jobs_outlive_a_database_server_that_is_killed() -> None:
    """While it is away calls fail, and once it is back the same store goes on."""
    with postgres() as server:
        store = PostgresStore(server.database())
        await store.open()
        accepted = await add(store)
        (started,) = await claim(store)
        server.stop("immediate")
        for _ in range(3):
            with pytest.raises(StoreFailed):
                await add(store)
        server.start()
        ended = await _ended(store, started)
        assert (ended.id, ended.state) == (accepted.id, "succeeded")
        assert await ids_of(store, states=None) == [accepted.id]
        await store.close()


async def _ended(store: PostgresStore, started: Job) -> Job:
    """Ask for the end of a job as a server does: again until the database answers."""
    for _ in range(100):
        with contextlib.suppress(StoreFailed):
            ended = await store.finish(started.id, started.attempt, SUCCESS)
            assert ended is not None
            return ended
        await asyncio.sleep(0.1)
    raise AssertionError("the database did not come back")


async def test_an_end_that_was_committed_unheard_is_the_end(postgres_server: Postgres) -> None:
    """A connection may be lost between a commit and its answer: the second call finds what the first one did."""
    store = PostgresStore(postgres_server.database())
    await store.open()
    await add(store)
    (started,) = await claim(store)
    first = await store.finish(started.id, started.attempt, SUCCESS)
    assert first is not None
    assert await store.finish(started.id, started.attempt, SUCCESS) == first
    await store.close()


async def test_one_server_uses_a_database(postgres_server: Postgres) -> None:
    url = postgres_server.database()
    first, second = PostgresStore(url), PostgresStore(url)
    await first.open()
    with pytest.raises(StoreUnusable, match="another server uses it"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_tables_of_a_later_version_are_left_alone(postgres_server: Postgres) -> None:
    url = postgres_server.database()
    store = PostgresStore(url)
    await store.open()
    await store.close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreUnusable, match="later version"):
        await store.open()


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    url = "postgresql://ann:s3cret@127.0.0.1:9/sd"
    with pytest.raises(StoreUnusable, match=r"cannot be reached .*127\.0\.0\.1") as error:
        await PostgresStore(url).open()
    assert "s3cret" not in str(error.value)
    assert "s3cret" not in without_secrets(url)


def _without(*keys: str) -> Search:
    return Search(leave_out=keys)


async def test_a_search_leaves_out_keys_and_keeps_the_order_of_the_others(postgres_server: Postgres) -> None:
    store = PostgresStore(postgres_server.database())
    await store.open()
    extra = {"zebra": 1, "large": "x" * 100, "ant": {"b": [1.5, None], "a": "\u0000é"}}
    await add(store, job(wanted=(request(),), extra=extra))
    (found,) = (await store.find(_without("large"))).jobs
    assert list(found.extra.items()) == [("zebra", 1), ("ant", extra["ant"])]
    (found,) = (await store.find(_without("zebra", "large", "ant"))).jobs
    assert found.extra == {}
    await store.close()
