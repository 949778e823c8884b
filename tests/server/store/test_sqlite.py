"""Tests what the SQLite store alone promises: databases of earlier and later versions, links, and the file's
contents."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from server.store import StoreFailed, StoreUnusable
from server.store.sql.thread import DatabaseThread
from server.store.sqlite.connection import connected
from server.store.sqlite.store import SqliteStore
from tests.server.queues import request
from tests.server.stores import add, claim, database_of_version, ids_of, job, opened, posted, values_in

pytestmark = pytest.mark.anyio


async def test_a_database_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    requests = [{**vars(request(seed=7, steps=9, width=512, height=512, batch_size=2, model="instant")), "seed": "7"}]
    with contextlib.closing(database_of_version(tmp_path, 1)) as database:
        for number, state in enumerate(("queued", "running", "succeeded")):
            row = {"id": state, "state": state, "client": "ann", "dialect": "comfyui", "model": "instant"}
            row |= {"pictures_asked": 2, "priority": 0, "created": 1.0, "attempt": 1, "excused": 0}
            row |= {"cancel_requested": 0, "token": str(number), "fingerprint": "", "requests": json.dumps(requests)}
            row |= {"extra": json.dumps({"extra_data": {"extra_pnginfo": {"workflow": {"id": "w"}}}})}
            row |= {"pictures": "[]", "timings": "{}", "record": "{}"}
            database.execute(f"INSERT INTO jobs ({','.join(row)}) VALUES ({','.join('?' * len(row))})", [*row.values()])
        database.execute("INSERT INTO turns VALUES ('ann', 17)")
        urls = ["https://A.example:81/x/y?a=http://b/", "http://b.example?c/d", "http://[::1]#e"]
        for number, url in enumerate(urls):
            whose = ("queued", "running", "gone")[number]
            database.execute(
                "INSERT INTO outbox VALUES (?, ?, 'finished', ?, '', 1, ?, 0)", (str(number), whose, url, number)
            )

    async with opened(tmp_path) as store:
        assert await ids_of(store, states=None, label="w") == ["queued", "running", "succeeded"]
        recovered = await store.recover(max_attempts=9, now=2.0)
        assert [each.id for each in recovered.queued] == ["queued", "running"]
        works = values_in(tmp_path, "SELECT work FROM jobs ORDER BY sequence")
        assert works == [recovered.queued[0].work] * 2 + [0]
        hosts = values_in(tmp_path, "SELECT host FROM outbox ORDER BY due")
        messages = await posted(store)
        assert hosts == [each.host for each in messages] == ["a.example:81", "b.example", "[::1]"]
        assert [each.client for each in messages] == ["ann", "ann", ""]
        await add(store, job(client="ben"))
        assert [each.client for each in await claim(store, 3)] == ["ann", "ben"]


async def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(database_of_version(tmp_path, 1)) as database:
        database.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreUnusable, match="later version"):
        await SqliteStore(tmp_path / "jobs.sqlite").open()


async def test_a_link_to_a_database_is_that_database(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.symlink_to(tmp_path / "jobs.sqlite")

    async with opened(tmp_path):
        with pytest.raises(StoreUnusable, match="in use by another server"):
            await SqliteStore(link).open()
    linked = SqliteStore(link)
    await linked.open()
    try:
        with pytest.raises(StoreUnusable, match="in use by another server"):
            await SqliteStore(tmp_path / "jobs.sqlite").open()
    finally:
        await linked.close()


async def test_seeds_are_kept_as_text(tmp_path: Path) -> None:
    """Other programs that read the file must not round them."""
    async with opened(tmp_path) as store:
        await add(store, job(wanted=(request(seed=2**64 - 1),)))
    assert values_in(tmp_path, "SELECT json_extract(tasks, '$[0].request.seed') FROM jobs") == [str(2**64 - 1)]


async def test_jobs_are_found_by_label_without_reading_all(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    plan = values_in(tmp_path, "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE label = 'a'", column=3)
    assert "USING INDEX labels" in plan[0]


async def test_an_operation_that_the_database_refuses_fails_alone(tmp_path: Path) -> None:
    thread = DatabaseThread(lambda: connected(tmp_path / "x.sqlite"))
    await thread.start()
    try:
        bad, good = thread.do(lambda db: db.execute("SELECT nothing")), thread.do(lambda db: 7)
        with pytest.raises(StoreFailed):
            await bad
        assert await good == 7
    finally:
        await thread.stop()
