"""Tests the queue's promises to its callers: what is accepted, what is refused, and how a job ends."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.formats.png import request_from_png
from server.backends.instant import InstantBackend
from server.job import Webhook
from server.problems import Problem
from server.store.sql.thread import DatabaseThread
from tests.server.queues import Queue, new, queue, request, until

pytestmark = pytest.mark.anyio


async def refused(queue: Queue, *requests: GenerationRequest, **named: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await queue.submit(*requests, **named)
    return caught.value


async def test_a_job_succeeds_with_its_pictures(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        wanted = (request(seed=0, batch_size=2), request(seed=2**64 - 1, width=128))
        job = await own.finish(*wanted, extra={"graph": {"é": [1, None]}})
        assert (job.state, job.attempt, job.failure, job.model) == ("succeeded", 1, None, "instant")
        assert [(each.request, each.index, each.seed, each.width) for each in job.pictures] == [
            (0, 0, 0, 64),
            (0, 1, 0, 64),
            (1, 0, 2**64 - 1, 128),
        ]
        for picture in job.pictures:
            inside = request_from_png(await own.outputs.read(picture.name))
            asked = dataclasses.replace(wanted[picture.request], model="instant.safetensors")
            assert inside == asked
        assert job.extra == {"graph": {"é": [1, None]}}
        assert {"queued", "sample", "decode", "encode_png", "total"} <= set(job.timings)
        assert await own.jobs.get(job.id) == job


async def test_a_seed_is_fixed_when_the_job_is_accepted(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one, other = await own.submit(request(seed=None)), await own.submit(request(seed=-1))
        assert None not in (one.requests[0].seed, other.requests[0].seed)
        assert one.requests[0].seed != other.requests[0].seed
        assert (await own.end(one)).pictures[0].seed == one.requests[0].seed
        assert (await own.finish(request(seed=0))).pictures[0].seed == 0


async def test_a_failure_is_that_jobs_alone(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        good, bad = await own.submit(), await own.submit(request(), request(prompt="fail"))
        assert (await own.end(good)).state == "succeeded"
        ended = await own.end(bad)
        assert (ended.state, ended.pictures) == ("failed", ())
        assert ended.failure is not None
        assert ended.failure.kind == "generation_failed"


async def test_what_is_not_allowed_is_refused_by_name(tmp_path: Path) -> None:
    async with queue(tmp_path, max_pixels=64 * 64, max_steps=5, max_pictures=3) as own:
        for wanted, field in (
            (request(width=128), "width"),
            (request(steps=6), "steps"),
            (request(batch_size=4), "batch_size"),
        ):
            problem = await refused(own, wanted)
            assert (problem.status, problem.kind, problem.field) == (400, "too_large", field)
        assert (await refused(own, request(batch_size=2), request(batch_size=2))).field == "batch_size"
        assert (await refused(own, priority=11)).field == "priority"
        assert (await refused(own, id="../x")).field == "id"
        assert (await refused(own, idempotency_key="")).field == "idempotency_key"
        assert (await refused(own, webhook=Webhook(url="ftp://example.org"))).field == "webhook_url"
        assert (await refused(own, webhook=Webhook(url="http://e.org", events=("x",)))).field == "webhook_events"
        with pytest.raises(UnknownCheckpoint):
            await own.submit(request(model="../instant"))
        with pytest.raises(BadRequest):
            await own.submit(request(prompt="(" * 101))
        assert sum((await own.counts()).values()) == 0


async def test_the_same_key_gives_the_same_job(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        same = [own.submit(request(seed=None), idempotency_key="k") for _ in range(20)]
        jobs = await asyncio.gather(*same)
        assert len({job.id for job in jobs}) == 1
        assert (await own.end(jobs[0])).state == "succeeded"
        again = await own.submit(request(seed=None), idempotency_key="k")
        assert (again.id, again.state) == (jobs[0].id, "succeeded")
        other = await own.submit(request(seed=None), idempotency_key="k", client="ben")
        assert other.id != again.id
        problem = await refused(own, request(seed=None, steps=3), idempotency_key="k")
        assert (problem.status, problem.kind) == (409, "idempotency_conflict")
        assert len(await own.found()) == 2
    async with queue(tmp_path) as own:
        assert (await own.submit(request(seed=None), idempotency_key="k")).id == jobs[0].id


async def test_what_was_asked_counts_where_the_dialect_drew_the_seeds(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        named: dict[str, Any] = {"idempotency_key": "k", "asked": {"n": 2}}
        one = await own.submit(request(seed=5), request(seed=6), **named)
        assert (await own.submit(request(seed=7), request(seed=8), **named)).id == one.id
        assert (await refused(own, idempotency_key="k", asked={"n": 3})).kind == "idempotency_conflict"


async def test_an_id_is_given_once(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        done = await asyncio.gather(*(own.submit(id="mine") for _ in range(5)), return_exceptions=True)
        kinds = sorted(each.kind if isinstance(each, Problem) else "accepted" for each in done)  # type: ignore[union-attr]
        assert kinds == ["accepted"] + ["id_taken"] * 4
        assert (await own.jobs.wait("mine", 60)).state == "succeeded"
        assert (await refused(own, id="mine")).kind == "id_taken"


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    async with queue(tmp_path, backend=backend, max_queued=3, drain=0) as own:
        await own.submit()
        await until(lambda: len(backend.requests) == 1)
        waiting = [await own.submit() for _ in range(3)]
        problem = await refused(own)
        assert (problem.status, problem.kind) == (429, "queue_full")
        assert int(problem.headers["Retry-After"]) >= 1
        await own.jobs.cancel(waiting[0].id)
        await own.submit()
        assert (await own.counts())["queued"] == 3


async def test_a_crowd_never_exceeds_the_bound(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    async with queue(tmp_path, backend=backend, max_queued=5, drain=0) as own:
        done = await asyncio.gather(*(own.submit() for _ in range(50)), return_exceptions=True)
        accepted = [each for each in done if not isinstance(each, BaseException)]
        counts = await own.counts()
        assert counts["queued"] <= 5
        assert counts["queued"] + counts["running"] == len(accepted)
        assert all(each.kind == "queue_full" for each in done if isinstance(each, Problem))


async def test_a_caller_that_goes_away_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        accepting = asyncio.ensure_future(own.submit(id="mine"))
        for _ in range(3):
            await asyncio.sleep(0)
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        await own.finish()
        job = await own.jobs.get("mine")
        assert job is None or (await own.end(job)).state == "succeeded"


async def test_waiting(tmp_path: Path) -> None:
    backend = InstantBackend(step_seconds=3600)
    async with queue(tmp_path, backend=backend, drain=0) as own:
        job = await own.submit()
        assert not (await own.jobs.wait(job.id, 0.01)).done
        waiting = asyncio.ensure_future(own.jobs.wait(job.id))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        both = asyncio.gather(own.jobs.wait(job.id), own.jobs.wait(job.id))
        await asyncio.sleep(0)
        await own.jobs.cancel(job.id)
        assert {each.state for each in await both} == {"cancelled"}
        with pytest.raises(Problem) as caught:
            await own.jobs.wait("unknown")
        assert caught.value.status == 404


async def test_finding_and_counting(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        jobs = [await own.finish(request(seed=n), dialect=("native", "openai")[n % 2]) for n in range(6)]
        failed = await own.finish(request(prompt="fail"))
        assert [job.id for job in await own.found()] == [job.id for job in reversed([*jobs, failed])]
        assert [job.id for job in await own.found(newest_first=False, limit=2, offset=1)] == [
            jobs[1].id,
            jobs[2].id,
        ]
        assert [job.id for job in await own.found(dialects=["openai"], limit=1)] == [jobs[5].id]
        assert [job.id for job in await own.found(states=["failed", "queued"])] == [failed.id]
        assert [job.id for job in await own.found(ids=[jobs[3].id, "unknown"])] == [jobs[3].id]
        assert await own.found(ids=[]) == await own.found(states=[]) == []
        none = {"queued": 0, "running": 0, "succeeded": 6, "failed": 1, "cancelled": 0}
        assert await own.counts() == none
        assert await own.counts(states=["succeeded"], dialects=["openai"]) == {"succeeded": 3}
        assert [job.sequence for job in jobs] == sorted(job.sequence for job in jobs)


async def test_nothing_is_accepted_once_it_is_closed(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        await own.finish()
    with pytest.raises(Problem) as caught:
        await own.jobs.accept(new())
    assert (caught.value.status, caught.value.kind) == (503, "shutting_down")
    with pytest.raises(Problem) as caught:
        await own.counts()
    assert caught.value.status == 503


async def test_a_job_is_asked_for_before_the_database_can_have_accepted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, asked = 0, list[int]()
    original = DatabaseThread.do

    def count() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(count)

    def noted(self: DatabaseThread, operation: Any, **named: Any) -> Any:
        asked.append(turns)
        return original(self, operation, **named)

    async with queue(tmp_path) as own:
        await own.finish()  # what is done at the start is over
        monkeypatch.setattr(DatabaseThread, "do", noted)
        count()
        await own.finish()
        accept, claim, finish = asked
        assert accept == claim < finish  # so that one transaction takes both
