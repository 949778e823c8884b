"""Every store starts jobs in the order that it foretold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from server.store import Store
from tests.server.queues import request
from tests.server.stores import add, again, claim, ids_of, job

pytestmark = pytest.mark.anyio


async def test_a_claimed_job_is_claimed_once(store: Store) -> None:
    await asyncio.gather(*(add(store) for _ in range(30)))
    claims = await asyncio.gather(*(claim(store, 3) for _ in range(20)))
    started = [one.id for jobs in claims for one in jobs]
    assert len(started) == len(set(started)) == 30
    assert all(one.attempt == 1 for jobs in claims for one in jobs)


async def test_clients_take_turns_also_within_one_claim(store: Store) -> None:
    for client in ("many", "many", "many", "many", "a", "b", "a"):
        await add(store, job(client=client))
    assert [each.client for each in await claim(store, 2)] == ["many", "a"]
    assert [each.client for each in await claim(store, 3)] == ["b", "many", "a"]
    await add(store, job(client="b", priority=1))
    assert [each.client for each in await claim(store, 9)] == ["b", "many", "many"]


async def test_clients_share_pictures_not_jobs(store: Store) -> None:
    for _ in range(3):
        await add(store, job(client="large", wanted=(request(),) * 64))
    for _ in range(200):
        await add(store, job(client="small"))
    started = [one for _ in range(80) for one in await claim(store)]
    given = Counter({one.client: 0 for one in started})
    for one in started:
        given[one.client] += one.pictures_asked
        assert abs(given["large"] - given["small"]) <= 64
    assert given["small"] > 70


async def test_a_client_that_asks_for_nothing_saves_nothing_up(store: Store) -> None:
    for _ in range(50):
        await add(store, job(client="early"))
    await claim(store, 30)
    for _ in range(10):
        await add(store, job(client="late"))
    assert Counter(one.client for one in await claim(store, 10)) == {"early": 5, "late": 5}


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_foretold_is_the_order_of_claims(store: Store, seed: int) -> None:
    choose = random.Random(seed)

    for priority in (1, 0):  # turns as they are after a while
        for _ in range(10):
            await add(store, job(client=choose.choice("abc"), priority=priority))
        await claim(store, 7)
        await store.cancel(choose.choice(await ids_of(store)), 1.0)
    for _ in range(30):
        wanted = request(batch_size=choose.randint(1, 4), steps=choose.randint(1, 9))
        await add(store, job(client=choose.choice("abcd"), wanted=(wanted,)))
    foretold = await store.jobs_ahead(await ids_of(store))
    started = []
    while found := await claim(store):
        started += [one.id for one in found]
    assert sorted(foretold, key=foretold.__getitem__) == started
    assert sorted(foretold.values()) == list(range(len(started)))
    assert await store.jobs_ahead(started) == {}


async def test_a_last_attempt_is_started_alone(store: Store) -> None:
    suspect = await add(store)
    for _ in range(2):
        (started,) = await claim(store)
        await again(store, started)
    other = await add(store, job(client="ben"))
    assert [each.id for each in await claim(store, 9, alone=False)] == [other.id]
    assert await claim(store, 9, alone=False) == []
    await add(store, job(client="ben"))
    assert [each.id for each in await claim(store, 9, alone=True)] == [suspect.id]


async def test_models_are_passed_over(store: Store) -> None:
    await add(store, job(wanted=(request(model="other"),)))
    instant = await add(store)
    assert [each.id for each in await claim(store, 9, not_models=["other"])] == [instant.id]
    assert await claim(store, 9, not_models=["other", "instant"]) == []
    assert len(await claim(store, 9)) == 1
