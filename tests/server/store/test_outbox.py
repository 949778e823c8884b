"""Tests what every store promises about webhooks that wait to be delivered."""

from __future__ import annotations

import dataclasses

import pytest

from server.job import Webhook
from server.store import Store
from tests.server.stores import SUCCESS, Kept, add, claim, due, job, message

pytestmark = pytest.mark.anyio


async def test_the_outbox_keeps_what_is_not_delivered(kept: Kept) -> None:
    async with kept.opened() as store:
        await add(store, job(webhook=Webhook(url="http://e.org", events=("started",))))
        (one,) = await claim(store)
        assert await due(store, 0.5) == []
        assert await store.next_due() == 1.0
        (message,) = await due(store, 1.0)
        assert message.body == "started running 1"
        await store.postpone(message.id, 50.0)
        assert await store.next_due() == 50.0
    async with kept.opened() as store:
        (later,) = await due(store, 50.0)
        assert later == dataclasses.replace(message, due=50.0, attempts=1)
        await store.delivered(message.id)
        assert await store.next_due() is None
        assert await store.finish(one.id, 1, SUCCESS) is not None
        assert await store.next_due() is None  # the end was not asked for


async def test_a_host_has_its_share_of_what_is_due(store: Store) -> None:
    await store.post([message(n, "deaf.example") for n in range(5000)])
    await store.post([message(n, "good.example:81") for n in range(6000, 6006)])
    await store.post([message(n, "one.example", "same") for n in range(7000, 7003)])
    at_once = [each.id for each in await due(store)]
    assert at_once[:4] == ["m0", "m1", "m2", "m3"]
    assert set(at_once[4:]) <= {"m6000", "m6001", "m6002", "m6003", "m7000"}
    deaf = [message(n, "deaf.example") for n in range(-4, 0)]
    full = {"under_way": deaf}
    assert [each.id for each in await due(store, **full)] == ["m6000", "m6001", "m6002", "m6003", "m7000"]
    assert [each.id for each in await due(store, **full, limit=2)] == ["m6000", "m6001"]
    good = [message(n, "good.example:81") for n in range(5997, 6000)]
    busy = {"under_way": [*deaf, *good, message(-1, "one.example", "same"), message(-2, "x", "j6000")]}
    assert [each.id for each in await due(store, **busy)] == ["m6001"]
    assert [each.id for each in await due(store, 6000.0, **full)] == ["m6000"]


async def test_a_client_has_its_share_of_what_is_due(store: Store) -> None:
    await store.post([message(n, f"{n}.deaf.example", client="mallory") for n in range(5000)])
    await store.post([message(n, "good.example", client="ben") for n in range(6000, 6002)])
    first = (await due(store, per_client=8))[:8]
    assert [each.id for each in first] == [f"m{n}" for n in range(8)]
    then = await due(store, per_client=8, limit=8, under_way=first)
    assert [each.id for each in then] == ["m6000", "m6001"]
    room_for_one = await due(store, per_client=8, under_way=first[1:])
    assert [each.id for each in room_for_one if each.client == "mallory"] == ["m0"]
    assert await due(store, per_client=8, under_way=[*first, *then]) == []
