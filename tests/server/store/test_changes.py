"""Every store makes each change once, by the running attempt alone, and keeps it when it is closed."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from typing import Any

import pytest

from server.job import Failure, Job, Picture, Webhook
from server.store import Ending, IdTaken, KeyConflict, Made, QueueFull, Store, StoreClosed
from tests.server.queues import request
from tests.server.stores import SUCCESS, Kept, add, again, claim, found, job, posted

pytestmark = pytest.mark.anyio


async def test_a_row_is_the_job(kept: Kept) -> None:
    wanted = job(
        wanted=(request(seed=2**64 - 1, prompt="naïve \U0001f600", denoise=0.3), request(seed=0)),
        priority=-3,
        idempotency_key="k",
        label="mine",
        webhook=Webhook(url="http://e.org", events=("started", "finished"), form="replicate"),
        extra={"big": 2**63, "nested": [{"a": None}]},
    )
    ending = Ending(
        state="succeeded",
        finished=5.5,
        pictures=(Picture(name="x.png", width=8, height=16, seed=2**64 - 1, request=0, index=0),),
        timings={"sample": 0.25},
        record={"device": "none"},
    )

    async with kept.opened() as store:
        accepted = await add(store, wanted)
        assert accepted == dataclasses.replace(wanted, sequence=1)
        (started,) = await claim(store)
        assert started == dataclasses.replace(accepted, state="running", attempt=1, started=2.0)
        await store.finish(started.id, 1, ending)
    async with kept.opened() as store:
        read = await store.get(wanted.id)
        values = {name: getattr(ending, name) for name in ("state", "finished", "pictures", "timings", "record")}
        assert read == dataclasses.replace(started, **values)


async def test_only_the_running_attempt_can_end_a_job(store: Store) -> None:
    one = await add(store)
    assert await store.finish(one.id, 0, SUCCESS) is None
    (first,) = await claim(store)
    requeued = await again(store, first)
    assert requeued is not None
    assert requeued.state == "queued"
    assert await store.finish(one.id, 1, SUCCESS) is None
    (second,) = await claim(store)
    assert second.attempt == 2
    assert await store.finish(one.id, 1, SUCCESS) is None
    assert await again(store, first) is None
    ended = await store.finish(one.id, 2, SUCCESS)
    assert ended is not None
    failed = Ending(state="failed", finished=9.0, failure=Failure(kind="generation_failed", message=""))
    assert await store.finish(one.id, 2, failed) is None
    assert await store.get(one.id) == ended


async def test_cancel_wins_over_an_end_that_comes_later(store: Store) -> None:
    await add(store)
    (one,) = await claim(store)
    asked = await store.cancel(one.id, 3.0)
    assert asked is not None
    assert (asked.state, asked.cancel_requested) == ("running", True)
    picture = Picture(name="x.png", width=8, height=8, seed=0, request=0, index=0)
    ended = await store.finish(one.id, 1, dataclasses.replace(SUCCESS, pictures=(picture,)))
    assert ended is not None
    assert (ended.state, ended.pictures, ended.failure) == ("cancelled", (), None)
    assert await store.cancel(one.id, 6.0) == ended
    assert await posted(store) == []


async def test_attempts_are_counted_and_excused(store: Store) -> None:
    one = await add(store)
    for excused in (False, True, True, False):
        (started,) = await claim(store)
        await again(store, started, excused=excused)
    (last,) = await claim(store)
    assert (last.attempt, last.excused) == (5, 2)
    ended = await again(store, last)
    assert ended is not None
    assert ended.failure is not None
    assert (ended.state, ended.failure.kind) == ("failed", "attempts_exhausted")
    assert await claim(store) == []
    assert (await store.get(one.id)) == ended


async def test_a_refusal_leaves_the_others_of_its_transaction_alone(store: Store) -> None:
    first = job(id="mine", idempotency_key="k")
    await add(store, first, "a")
    done: list[Any] = await asyncio.gather(
        add(store),
        add(store, job(id="mine")),
        add(store),
        add(store, job(idempotency_key="k"), "b"),
        add(store, job(idempotency_key="k"), "a"),
        add(store, most=1),
        add(store),
        return_exceptions=True,
    )
    kinds = [type(each) for each in done]
    assert kinds == [Job, IdTaken, Job, KeyConflict, Job, QueueFull, Job]
    assert done[4].id == "mine"
    assert len(await found(store, states=["queued"])) == 4


async def test_a_defect_in_an_operation_is_its_callers_alone(store: Store) -> None:
    broken = dataclasses.replace(job(), extra={"a": object()})
    good, bad, also_good = await asyncio.gather(add(store), add(store, broken), add(store), return_exceptions=True)
    assert isinstance(bad, TypeError)
    assert isinstance(good, Job)
    assert isinstance(also_good, Job)
    assert await store.get(good.id) is not None


async def test_what_a_caller_changes_later_is_not_in_the_store(store: Store) -> None:
    graph = {"nodes": [1]}
    one = await add(store, job(extra={"graph": graph}))
    graph["nodes"].append(2)
    one.extra["graph"]["nodes"].append(3)
    (read,) = await found(store)
    assert read.extra == {"graph": {"nodes": [1]}}


async def test_nothing_is_done_while_it_is_closed(kept: Kept) -> None:
    store = kept.make()
    for operation in (add(store), store.get("any"), claim(store)):
        with pytest.raises(StoreClosed):
            await operation


async def test_messages_follow_the_changes_that_they_report(store: Store) -> None:
    hook = Webhook(url="http://e.org", events=("started", "output", "finished"))
    picture = Picture(name="x.png", width=8, height=8, seed=0, request=0, index=0)
    await add(store, job(webhook=hook))
    (one,) = await claim(store)
    await store.finish(one.id, 1, dataclasses.replace(SUCCESS, pictures=(picture,)))
    waiting = await add(store, job(webhook=hook))
    await store.cancel(waiting.id, 3.0)
    bodies = {message.body for message in await posted(store)}
    assert bodies == {"started running 1", "output succeeded 1", "finished succeeded 1", "finished cancelled 0"}


@pytest.mark.parametrize("seed", range(5))
async def test_each_job_ends_once_whatever_happens_at_once(kept: Kept, seed: int) -> None:
    """Workers, cancels and restarts happen at random; the outbox, written with each change, shows what was done."""
    choose = random.Random(seed)

    async def work(store: Store) -> None:
        for one in await claim(store, choose.randint(1, 4), alone=choose.random() < 0.5, max_attempts=100):
            if choose.random() < 0.3:
                await store.show(one.id, one.attempt, Made(timings={"sample": 1.0}))
            if choose.random() < 0.3:
                await store.requeue(one.id, one.attempt, excused=False, max_attempts=100, now=3.0)
            ending = dataclasses.replace(SUCCESS, state=choose.choice(["succeeded", "failed"]))
            await asyncio.gather(*(store.finish(one.id, one.attempt, ending) for _ in range(choose.randint(0, 2))))

    hook = Webhook(url="http://e.org", events=("started", "finished"))
    ids: list[str] = []
    for _ in range(4):
        async with kept.opened() as store:
            await store.recover(max_attempts=100, now=1.0)
            wanted = [job(webhook=hook, client=choose.choice("abc")) for _ in range(10)]
            ids += [each.id for each in wanted]
            await asyncio.gather(
                *(add(store, each) for each in wanted),
                *(work(store) for _ in range(10)),
                *(store.cancel(choose.choice(ids), 4.0, keep=choose.random() < 0.5) for _ in range(5)),
            )
    async with kept.opened() as store:
        await store.recover(max_attempts=100, now=1.0)
        while await found(store, states=["queued", "running"]):
            await work(store)
            await store.recover(max_attempts=100, now=1.0)
        jobs = await found(store)
        assert sorted(each.id for each in jobs) == sorted(ids)
        messages = await posted(store)
    ends = Counter(each.job for each in messages if each.moment == "finished")
    assert ends == Counter(ids)
    starts = Counter(each.job for each in messages if each.moment == "started")
    assert all(starts[each.id] == each.attempt for each in jobs)
