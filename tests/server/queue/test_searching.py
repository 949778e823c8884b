"""Jobs found and read: no more than is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from server.job import Job
from server.store import (
    Search,
)
from tests.server.stores import SUCCESS, add, claim, ids_of, job, opened

pytestmark = pytest.mark.anyio


async def test_searching(tmp_path: Path) -> None:
    def prompt(workflow: object, **named: Any) -> Job:
        return job(dialect="comfyui", extra={"extra_data": {"extra_pnginfo": {"workflow": workflow}}}, **named)

    async with opened(tmp_path) as store:
        first = await add(store, prompt({"id": "mine"}))
        second = await add(store, prompt({"id": "mine"}, client="ben"))
        third = await add(store, prompt("mine"))
        await add(store)
        for one in await claim(store, 2):
            await store.finish(one.id, 1, dataclasses.replace(SUCCESS, finished=9.0 - one.sequence))
        await store.cancel(third.id, 3.0)
        assert await ids_of(store, states=None, workflow="mine") == [first.id, second.id]
        assert await ids_of(store, states=None, client="ben") == [second.id]
        assert await ids_of(store, states=["cancelled"]) == [third.id]
        assert await ids_of(store, states=["cancelled"], begun=True) == []
        durations = {"states": None, "by_duration": True, "dialects": ["comfyui"]}
        assert await ids_of(store, **durations) == [third.id, second.id, first.id]
        assert await ids_of(store, **durations, newest_first=True) == [first.id, second.id, third.id]
        page = await store.search(Search(limit=1, offset=1))
        assert (page.ids, page.total) == ([third.id], 4)


async def test_a_workflows_prompts_are_found_without_reading_all(tmp_path: Path) -> None:
    from server.store.sqlite.queries import _WORKFLOW

    async with opened(tmp_path) as store:
        plan = await store._thread.do(
            lambda db: db.execute(f"EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE {_WORKFLOW} = ?", ("a",)).fetchall()
        )
        assert "workflows" in plan[0]["detail"]


async def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        made = [await add(store, job(extra={"graph": "x" * 1000, "n": n})) for n in range(5)]
        ids = [each.id for each in reversed(made)]
        assert await store.read(ids) == made[::-1]
        assert [each.id for each in await store.read([*ids, "unknown"], most_bytes=2500)] == ids[:2]
        assert [each.id for each in await store.read(ids, most_bytes=1)] == ids[:1]
        small = await store.read(ids, most_bytes=2500, leave_out=["graph", "other"])
        assert [each.extra for each in small] == [{"n": n} for n in (4, 3, 2, 1, 0)]


async def test_any_number_of_values_can_be_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        one = await add(store)
        many = [*map(str, range(300_000)), "native"]
        found = await store.find(states=None, dialects=many, ids=None, limit=9, offset=0, newest_first=False)
        assert found == [one]
        assert (await store.count(states=["queued"], dialects=many))["queued"] == 1
        assert await claim(store, not_models=many) == [await store.get(one.id)]
