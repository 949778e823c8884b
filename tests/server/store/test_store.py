"""The store's promises: each change is made once, by whoever is entitled to it, and is there after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from server.job import Failure, Job, Picture, Webhook
from server.queue.accepting import fingerprint
from server.store import (
    IdTaken,
    KeyConflict,
    Outcome,
    QueueFull,
    StoreFailed,
)
from server.store.sqlite.store import SqliteStore
from tests.server.queues import new, request
from tests.server.stores import SUCCESS, add, again, claim, job, messages_in, opened

pytestmark = pytest.mark.anyio


async def test_a_row_is_the_job(tmp_path: Path) -> None:
    wanted = job(
        requests=(request(seed=2**64 - 1, prompt="naïve \U0001f600", denoise=0.3), request(seed=0)),
        priority=-3,
        idempotency_key="k",
        webhook=Webhook(url="http://e.org", events=("started", "finished"), form="replicate"),
        extra={"big": 2**63, "nested": [{"a": None}]},
    )
    outcome = Outcome(
        state="succeeded",
        finished=5.5,
        pictures=(Picture(name="x.png", width=8, height=16, seed=2**64 - 1, request=0, index=0),),
        timings={"sample": 0.25},
        record={"device": "none"},
    )

    async with opened(tmp_path) as store:
        accepted = await add(store, wanted)
        assert accepted == dataclasses.replace(wanted, sequence=1)
        (begun,) = await claim(store)
        assert begun == dataclasses.replace(accepted, state="running", attempt=1, started=2.0)
        await store.finish(begun.id, 1, outcome)
    async with opened(tmp_path) as store:
        kept = await store.get(wanted.id)
        values = {name: getattr(outcome, name) for name in ("state", "finished", "pictures", "timings", "record")}
        assert kept == dataclasses.replace(begun, **values)


async def test_seeds_are_kept_as_text(tmp_path: Path) -> None:
    """Other programs that look into the file must not round them."""

    async with opened(tmp_path) as store:
        await add(store, job(requests=(request(seed=2**64 - 1),)))
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
        (seed,) = database.execute("SELECT json_extract(requests, '$[0].seed') FROM jobs").fetchone()
        assert seed == str(2**64 - 1)


async def test_only_the_running_attempt_can_end_a_job(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
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
        failed = Outcome(state="failed", finished=9.0, failure=Failure(kind="generation_failed", message=""))
        assert await store.finish(one.id, 2, failed) is None
        assert await store.get(one.id) == ended


async def test_cancel_wins_over_an_end_that_comes_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
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
        assert await messages_in(store) == []


async def test_attempts_are_counted_and_excused(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        one = await add(store)
        for excused in (False, True, True, False):
            (begun,) = await claim(store)
            await again(store, begun, excused=excused)
        (last,) = await claim(store)
        assert (last.attempt, last.excused) == (5, 2)
        ended = await again(store, last)
        assert ended is not None
        assert ended.failure is not None
        assert (ended.state, ended.failure.kind) == ("failed", "attempts_exhausted")
        assert await claim(store) == []
        assert (await store.get(one.id)) == ended


async def test_a_refusal_leaves_the_others_of_its_transaction_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
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
        assert (await store.count(states=None, dialects=None))["queued"] == 4


async def test_a_defect_in_an_operation_is_its_callers_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        broken = dataclasses.replace(job(), extra={"a": object()})
        good, bad, also_good = await asyncio.gather(add(store), add(store, broken), add(store), return_exceptions=True)
        assert isinstance(bad, TypeError)
        assert isinstance(good, Job)
        assert isinstance(also_good, Job)
        with pytest.raises(StoreFailed):
            await store._thread.do(lambda db: db.execute("SELECT nothing"))
        assert await store.get(good.id) is not None


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_at_once_each_job_ends_once(tmp_path: Path, seed: int) -> None:
    """Workers, cancellers and crashes at random; the outbox, written with each change, tells what happened."""
    choose = random.Random(seed)

    async def worker(store: SqliteStore) -> None:
        for one in await claim(store, choose.randint(1, 4), alone=choose.random() < 0.5, max_attempts=100):
            if choose.random() < 0.3:
                await store.requeue(one.id, one.attempt, excused=False, max_attempts=100, now=3.0)
            outcome = dataclasses.replace(SUCCESS, state=choose.choice(["succeeded", "failed"]))
            await asyncio.gather(*(store.finish(one.id, one.attempt, outcome) for _ in range(choose.randint(0, 2))))

    hook = Webhook(url="http://e.org", events=("started", "finished"))
    ids: list[str] = []
    for _ in range(4):
        async with opened(tmp_path) as store:
            await store.recover(max_attempts=100, now=1.0)
            clients = [job(webhook=hook, client=choose.choice("abc")) for _ in range(10)]
            ids += [each.id for each in clients]
            await asyncio.gather(
                *(add(store, each) for each in clients),
                *(worker(store) for _ in range(10)),
                *(store.cancel(choose.choice(ids), 4.0) for _ in range(5)),
            )
    async with opened(tmp_path) as store:
        await store.recover(max_attempts=100, now=1.0)
        while any((await store.count(states=["queued", "running"], dialects=None)).values()):
            await worker(store)
            await store.recover(max_attempts=100, now=1.0)
        jobs = await store.find(states=None, dialects=None, ids=None, limit=1000, offset=0, newest_first=False)
        assert sorted(each.id for each in jobs) == sorted(ids)
        messages = await messages_in(store)
        ends = Counter(each.job for each in messages if each.moment == "finished")
        assert ends == Counter(ids)
        starts = Counter(each.job for each in messages if each.moment == "started")
        assert all(starts[each.id] == each.attempt for each in jobs)


def test_the_fingerprint_tells_calls_apart() -> None:
    same = [new(request(seed=None)), new(request(seed=None), client="ben", priority=3)]
    assert len({fingerprint(each) for each in same}) == 1
    different = [
        *same[:1],
        new(request(seed=1)),
        new(request(seed=None), request(seed=None)),
        new(request(seed=None), dialect="openai"),
        new(request(seed=None), asked={"n": 1}),
    ]
    assert len({fingerprint(each) for each in different}) == len(different)
