"""Every store's searches give the jobs that were meant, in their order, and no more than asked for."""

from __future__ import annotations

import dataclasses

import pytest

from server.store import Search, Store
from tests.server.queues import request
from tests.server.stores import SUCCESS, add, claim, found, ids_of, job

pytestmark = pytest.mark.anyio


async def test_searching(store: Store) -> None:
    first = await add(store, job(dialect="comfyui", label="mine"))
    second = await add(store, job(dialect="comfyui", label="mine", client="ben"))
    third = await add(store, job(dialect="comfyui"))
    await add(store)
    for one in await claim(store, 2):
        await store.finish(one.id, 1, dataclasses.replace(SUCCESS, finished=9.0 - one.sequence))
    await store.cancel(third.id, 3.0)
    assert await ids_of(store, states=None, label="mine") == [first.id, second.id]
    assert await ids_of(store, states=None, client="ben") == [second.id]
    assert await ids_of(store, states=["cancelled"]) == [third.id]
    assert await ids_of(store, states=["cancelled"], started=True) == []
    assert await ids_of(store, states=None, ids=[third.id, "unknown"]) == [third.id]
    assert await ids_of(store, states=[]) == await ids_of(store, ids=[]) == []
    durations = {"states": None, "by_duration": True, "dialects": ["comfyui"]}
    assert await ids_of(store, **durations) == [third.id, second.id, first.id]
    assert await ids_of(store, **durations, newest_first=True) == [first.id, second.id, third.id]


async def test_a_page_comes_with_the_numbers_of_all(store: Store) -> None:
    made = [await add(store, job(dialect=("native", "openai")[n % 2])) for n in range(5)]
    await store.cancel(made[0].id, 3.0)
    page = await store.find(Search(limit=2, offset=1))
    assert page.jobs == [made[3], made[2]]
    assert page.ids == [made[3].id, made[2].id]
    assert page.counts == {"queued": 4, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 1}
    assert page.total == 5
    counted = await store.find(Search(states=["queued"], dialects=["openai"], limit=0))
    assert (counted.jobs, counted.ids, counted.counts) == ([], [], {"queued": 2})


async def test_no_more_is_read_than_asked_for(store: Store) -> None:
    made = [await add(store, job(extra={"graph": "x" * 1000, "n": n})) for n in range(5)]
    assert (await store.find(Search())).jobs == made[::-1]
    for most, read in ((2500, 2), (1, 1), (0, 0)):
        page = await store.find(Search(most_bytes=most))
        assert page.jobs == made[::-1][:read]
        assert page.ids == [each.id for each in reversed(made)]
    small = await found(store, most_bytes=2500, leave_out=["graph", "other"])
    assert [each.extra for each in small] == [{"n": n} for n in range(5)]


async def test_any_number_of_values_can_be_asked_for(store: Store) -> None:
    one = await add(store)
    many = [*map(str, range(300_000)), "native"]
    assert await found(store, dialects=many) == [one]
    assert await claim(store, not_models=many) == [await store.get(one.id)]


async def test_finished_jobs_expire_by_age_and_by_number(store: Store) -> None:
    made = [await add(store) for _ in range(5)]
    for one in await claim(store, 4):
        await store.finish(one.id, 1, dataclasses.replace(SUCCESS, finished=10.0 * one.sequence))
    ids = [each.id for each in made]

    async def expired(before: float | None, keep: int | None, limit: int = 9) -> list[str]:
        return [each.id for each in await store.expired(before=before, keep=keep, limit=limit)]

    assert await expired(None, None) == []
    assert await expired(25.0, None) == ids[:2]
    assert await expired(None, 1) == ids[:3]
    assert await expired(None, 1, limit=2) == ids[:2]
    assert await expired(15.0, 3) == ids[:1]
    assert await store.delete([*ids[:2], ids[4], "unknown"]) == 2
    assert [each.id for each in await found(store)] == ids[2:]


async def test_pictures_are_found_by_their_jobs_tokens(store: Store) -> None:
    one = await add(store)
    assert await store.kept_pictures([one.token, "unknown"]) == {one.token: frozenset()}


async def test_words_are_looked_for_in_the_texts_of_tasks(store: Store) -> None:
    boat = await add(store, job(wanted=(request(prompt="a Red boat, 100% oak", sampler="heun"),)))
    tree = await add(store, job(wanted=(request(prompt="a red_tree"), request(prompt="the sea"))))

    async def ids(*words: str) -> list[str]:
        return await ids_of(store, words=words)

    assert await ids("RED") == await ids() == [boat.id, tree.id]
    assert await ids("red", "heun") == [boat.id]
    assert await ids("sea") == await ids("d_t") == [tree.id]
    assert await ids("0% o") == [boat.id]
    assert await ids("e%d") == await ids("prompt") == await ids("red", "house") == []


async def test_times_of_acceptance_restrict_a_search(store: Store) -> None:
    early, late = [await add(store, dataclasses.replace(job(), created=time)) for time in (10.0, 20.0)]
    assert await ids_of(store, created_from=20.0) == [late.id]
    assert await ids_of(store, created_before=20.0) == [early.id]
    assert await ids_of(store, created_from=10.0, created_before=21.0) == [early.id, late.id]
