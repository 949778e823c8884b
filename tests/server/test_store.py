"""The store's promises: each change is made once, by whoever is entitled to it, and is there after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.estimate import work_of
from server.fake import InstantBackend
from server.intake import fingerprint, job_for
from server.job import Failure, Job, Picture, Webhook
from server.store import (
    IdTaken,
    KeyConflict,
    Message,
    Moment,
    Outcome,
    QueueFull,
    Search,
    StoreFailed,
    StoreUnusable,
    schema,
)
from server.store.rows import message_of
from server.store.sqlite import SqliteStore
from tests.server.queues import new, request, run, settings_in

SUCCESS = Outcome(state="succeeded", finished=5.0)


def told(job: Job, moment: Moment) -> list[Message]:
    """One message that names the attempt."""
    text = f"{moment} {job.state} {job.attempt}"
    id = f"{job.id}-{job.attempt}-{moment}"
    return [Message(id=id, job=job.id, moment=moment, url="http://e.org", body=text, created=1.0, due=1.0)]


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
    values: dict[str, Any] = {"limit": 16, "per_host": 4, "hosts": {}, "jobs": []} | named
    return await store.due(now=now, **values)


async def again(store: SqliteStore, one: Job, *, excused: bool = False) -> Job | None:
    return await store.requeue(one.id, one.attempt, excused=excused, max_attempts=3, now=3.0)


def test_a_row_is_the_job(tmp_path: Path) -> None:
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

    async def scene() -> None:
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

    run(scene())


def test_seeds_are_kept_as_text(tmp_path: Path) -> None:
    """Other programs that look into the file must not round them."""

    async def scene() -> None:
        async with opened(tmp_path) as store:
            await add(store, job(requests=(request(seed=2**64 - 1),)))

    run(scene())
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
        (seed,) = database.execute("SELECT json_extract(requests, '$[0].seed') FROM jobs").fetchone()
        assert seed == str(2**64 - 1)


def test_only_the_running_attempt_can_end_a_job(tmp_path: Path) -> None:
    async def scene() -> None:
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

    run(scene())


def test_a_claimed_job_is_claimed_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            await asyncio.gather(*(add(store) for _ in range(30)))
            claims = await asyncio.gather(*(claim(store, 3) for _ in range(20)))
            begun = [one.id for jobs in claims for one in jobs]
            assert len(begun) == len(set(begun)) == 30
            assert all(one.attempt == 1 for jobs in claims for one in jobs)

    run(scene())


def test_clients_take_turns_also_within_one_claim(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            for client in ("many", "many", "many", "many", "a", "b", "a"):
                await add(store, job(client=client))
            assert [each.client for each in await claim(store, 2)] == ["many", "a"]
            assert [each.client for each in await claim(store, 3)] == ["b", "many", "a"]
            await add(store, job(client="b", priority=1))
            assert [each.client for each in await claim(store, 9)] == ["b", "many", "many"]

    run(scene())


def test_clients_share_pictures_not_jobs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            for _ in range(3):
                await add(store, job(client="large", requests=(request(),) * 64))
            for _ in range(200):
                await add(store, job(client="small"))
            begun = [one for _ in range(80) for one in await claim(store)]
            given = Counter({one.client: 0 for one in begun})
            for one in begun:
                given[one.client] += one.pictures_asked
                assert abs(given["large"] - given["small"]) <= 64
            assert given["small"] > 70

    run(scene())


def test_who_asked_for_nothing_saves_nothing_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            for _ in range(50):
                await add(store, job(client="early"))
            await claim(store, 30)
            for _ in range(10):
                await add(store, job(client="late"))
            assert Counter(one.client for one in await claim(store, 10)) == {"early": 5, "late": 5}

    run(scene())


@pytest.mark.parametrize("seed", range(5))
def test_the_order_that_is_told_is_the_order_of_claims(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)

    async def scene() -> None:
        async with opened(tmp_path) as store:
            for priority in (1, 0):  # turns as they are after a while
                for _ in range(10):
                    await add(store, job(client=choose.choice("abc"), priority=priority))
                await claim(store, 7)
                await store.cancel(choose.choice(await ids_of(store)), 1.0)
            for _ in range(30):
                wanted = request(batch_size=choose.randint(1, 4), steps=choose.randint(1, 9))
                await add(store, job(client=choose.choice("abcd"), requests=(wanted,)))
            told = await store.aheads(await ids_of(store))
            begun = []
            while found := await claim(store):
                begun += [one.id for one in found]
            assert sorted(told, key=told.__getitem__) == begun
            assert sorted(told.values()) == list(range(len(begun)))
            assert await store.aheads(begun) == {}

    run(scene())


async def ids_of(store: SqliteStore, **named: Any) -> list[str]:
    return (await store.search(Search(**({"states": ["queued"], "newest_first": False} | named)))).ids


def test_searching(tmp_path: Path) -> None:
    def prompt(workflow: object, **named: Any) -> Job:
        return job(dialect="comfyui", extra={"extra_data": {"extra_pnginfo": {"workflow": workflow}}}, **named)

    async def scene() -> None:
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

    run(scene())


def test_a_workflows_prompts_are_found_without_reading_all(tmp_path: Path) -> None:
    from server.store.queries import _WORKFLOW

    async def scene() -> None:
        async with opened(tmp_path) as store:
            plan = await store._thread.do(
                lambda db: db.execute(
                    f"EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE {_WORKFLOW} = ?", ("a",)
                ).fetchall()
            )
            assert "workflows" in plan[0]["detail"]

    run(scene())


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            made = [await add(store, job(extra={"graph": "x" * 1000, "n": n})) for n in range(5)]
            ids = [each.id for each in reversed(made)]
            assert await store.read(ids) == made[::-1]
            assert [each.id for each in await store.read([*ids, "unknown"], most_bytes=2500)] == ids[:2]
            assert [each.id for each in await store.read(ids, most_bytes=1)] == ids[:1]
            small = await store.read(ids, most_bytes=2500, leave_out=["graph", "other"])
            assert [each.extra for each in small] == [{"n": n} for n in (4, 3, 2, 1, 0)]

    run(scene())


def test_any_number_of_values_can_be_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            one = await add(store)
            many = [*map(str, range(300_000)), "native"]
            found = await store.find(states=None, dialects=many, ids=None, limit=9, offset=0, newest_first=False)
            assert found == [one]
            assert (await store.count(states=["queued"], dialects=many))["queued"] == 1
            assert await claim(store, not_models=many) == [await store.get(one.id)]

    run(scene())


def test_cancel_wins_over_an_end_that_comes_later(tmp_path: Path) -> None:
    async def scene() -> None:
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

    run(scene())


def test_attempts_are_counted_and_excused(tmp_path: Path) -> None:
    async def scene() -> None:
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

    run(scene())


def test_a_last_attempt_is_begun_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            suspect = await add(store)
            for _ in range(2):
                (begun,) = await claim(store)
                await again(store, begun)
            other = await add(store, job(client="ben"))
            assert [each.id for each in await claim(store, 9, alone=False)] == [other.id]
            assert await claim(store, 9, alone=False) == []
            await add(store, job(client="ben"))
            assert [each.id for each in await claim(store, 9, alone=True)] == [suspect.id]

    run(scene())


def test_models_are_passed_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            await add(store, job(requests=(request(model="other"),)))
            instant = await add(store)
            assert [each.id for each in await claim(store, 9, not_models=["other"])] == [instant.id]
            assert await claim(store, 9, not_models=["other", "instant"]) == []
            assert len(await claim(store, 9)) == 1

    run(scene())


def test_a_refusal_leaves_the_others_of_its_transaction_alone(tmp_path: Path) -> None:
    async def scene() -> None:
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

    run(scene())


def test_a_defect_in_an_operation_is_its_callers_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            broken = dataclasses.replace(job(), extra={"a": object()})
            good, bad, also_good = await asyncio.gather(
                add(store), add(store, broken), add(store), return_exceptions=True
            )
            assert isinstance(bad, TypeError)
            assert isinstance(good, Job)
            assert isinstance(also_good, Job)
            with pytest.raises(StoreFailed):
                await store._thread.do(lambda db: db.execute("SELECT nothing"))
            assert await store.get(good.id) is not None

    run(scene())


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_at_once_each_job_ends_once(tmp_path: Path, seed: int) -> None:
    """Workers, cancellers and crashes at random; the outbox, written with each change, tells what happened."""
    choose = random.Random(seed)

    async def worker(store: SqliteStore) -> None:
        for one in await claim(store, choose.randint(1, 4), alone=choose.random() < 0.5, max_attempts=100):
            if choose.random() < 0.3:
                await store.requeue(one.id, one.attempt, excused=False, max_attempts=100, now=3.0)
            outcome = dataclasses.replace(SUCCESS, state=choose.choice(["succeeded", "failed"]))
            await asyncio.gather(*(store.finish(one.id, one.attempt, outcome) for _ in range(choose.randint(0, 2))))

    async def scene() -> None:
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

    run(scene())


def test_the_outbox_keeps_what_is_not_delivered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            await add(store, job(webhook=Webhook(url="http://e.org", events=("started",))))
            (one,) = await claim(store)
            assert await due(store, 0.5) == []
            assert await store.next_due() == 1.0
            (message,) = await due(store, 1.0)
            assert message.body == "started running 1"
            await store.postpone(message.id, 50.0)
            assert await store.next_due() == 50.0
        async with opened(tmp_path) as store:
            (later,) = await due(store, 50.0)
            assert later == dataclasses.replace(message, due=50.0, attempts=1)
            await store.delivered(message.id)
            assert await store.next_due() is None
            assert await store.finish(one.id, 1, SUCCESS) is not None
            assert await store.next_due() is None  # the end was not asked for

    run(scene())


def message(n: int, host: str, job: str | None = None) -> Message:
    url = f"http://{host}/hook"
    return Message(id=f"m{n}", job=job or f"j{n}", moment="finished", url=url, body="{}", created=n, due=n)


def test_a_host_has_its_share_of_what_is_due(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            await store.post([message(n, "deaf.example") for n in range(5000)])
            await store.post([message(n, "good.example:81") for n in range(6000, 6006)])
            await store.post([message(n, "one.example", "same") for n in range(7000, 7003)])
            assert [each.id for each in await due(store)] == ["m0", "m1", "m2", "m3"]
            full = {"hosts": {"deaf.example": 4}}
            assert [each.id for each in await due(store, **full)] == ["m6000", "m6001", "m6002", "m6003", "m7000"]
            assert [each.id for each in await due(store, **full, limit=2)] == ["m6000", "m6001"]
            busy = {"hosts": {"deaf.example": 4, "good.example:81": 3}, "jobs": ["same", "j6000"]}
            assert [each.id for each in await due(store, **busy)] == ["m6001"]
            assert [each.id for each in await due(store, 6000.0, **full)] == ["m6000"]

    run(scene())


def database_of_version(folder: Path, version: int) -> sqlite3.Connection:
    database = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None)
    database.executescript("".join(schema._VERSIONS[:version]) + f"PRAGMA user_version = {version};")
    return database


def test_a_database_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
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
            database.execute(
                "INSERT INTO outbox VALUES (?, 'j', 'finished', ?, '', 1, ?, 0)", (str(number), url, number)
            )

    async def scene() -> None:
        async with opened(tmp_path) as store:
            assert await ids_of(store, states=None, workflow="w") == ["queued", "running", "succeeded"]
            recovered = await store.recover(max_attempts=9, now=2.0)
            assert [each.id for each in recovered.queued] == ["queued", "running"]
            works = await store._thread.do(
                lambda db: [w for (w,) in db.execute("SELECT work FROM jobs ORDER BY sequence")]
            )
            assert works == [work_of(recovered.queued[0])] * 2 + [0]
            messages = await messages_in(store)
            hosts = await store._thread.do(
                lambda db: [h for (h,) in db.execute("SELECT host FROM outbox ORDER BY due")]
            )
            assert hosts == [each.host for each in messages] == ["a.example:81", "b.example", "[::1]"]
            await add(store, job(client="ben"))
            assert [each.client for each in await claim(store, 3)] == ["ann", "ben"]

    run(scene())


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(database_of_version(tmp_path, 1)) as database:
        database.execute("PRAGMA user_version = 99")

    async def scene() -> None:
        with pytest.raises(StoreUnusable, match="later version"):
            await SqliteStore(tmp_path / "jobs.sqlite").open()

    run(scene())


def test_a_link_to_a_database_is_that_database(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.symlink_to(tmp_path / "jobs.sqlite")

    async def scene() -> None:
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

    run(scene())


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
