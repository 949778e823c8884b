"""The queue's promises to those who ask for jobs: what is accepted, in which order it is begun, how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.png import request_from_png
from server.fake import InstantBackend
from server.job import Webhook
from server.problems import Problem
from tests.server.queues import Queue, new, queue, request, run, until


async def refused(queue: Queue, *requests: GenerationRequest, **named: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await queue.submit(*requests, **named)
    return caught.value


def test_a_job_succeeds_with_its_pictures(tmp_path: Path) -> None:
    async def scene() -> None:
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

    run(scene())


def test_a_seed_is_fixed_when_the_job_is_accepted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            one, other = await own.submit(request(seed=None)), await own.submit(request(seed=-1))
            assert None not in (one.requests[0].seed, other.requests[0].seed)
            assert one.requests[0].seed != other.requests[0].seed
            assert (await own.end(one)).pictures[0].seed == one.requests[0].seed
            assert (await own.finish(request(seed=0))).pictures[0].seed == 0

    run(scene())


def test_a_failure_is_that_jobs_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            good, bad = await own.submit(), await own.submit(request(), request(prompt="fail"))
            assert (await own.end(good)).state == "succeeded"
            ended = await own.end(bad)
            assert (ended.state, ended.pictures) == ("failed", ())
            assert ended.failure is not None
            assert ended.failure.kind == "generation_failed"

    run(scene())


def test_what_is_not_allowed_is_refused_by_name(tmp_path: Path) -> None:
    async def scene() -> None:
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
            assert sum((await own.jobs.count()).values()) == 0

    run(scene())


def test_the_same_key_gives_the_same_job(tmp_path: Path) -> None:
    async def scene() -> None:
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
            assert len(await own.jobs.find()) == 2
        async with queue(tmp_path) as own:
            assert (await own.submit(request(seed=None), idempotency_key="k")).id == jobs[0].id

    run(scene())


def test_what_was_asked_counts_where_the_dialect_drew_the_seeds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            named: dict[str, Any] = {"idempotency_key": "k", "asked": {"n": 2}}
            one = await own.submit(request(seed=5), request(seed=6), **named)
            assert (await own.submit(request(seed=7), request(seed=8), **named)).id == one.id
            assert (await refused(own, idempotency_key="k", asked={"n": 3})).kind == "idempotency_conflict"

    run(scene())


def test_an_id_is_given_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            done = await asyncio.gather(*(own.submit(id="mine") for _ in range(5)), return_exceptions=True)
            kinds = sorted(each.kind if isinstance(each, Problem) else "accepted" for each in done)  # type: ignore[union-attr]
            assert kinds == ["accepted"] + ["id_taken"] * 4
            assert (await own.jobs.wait("mine", 60)).state == "succeeded"
            assert (await refused(own, id="mine")).kind == "id_taken"

    run(scene())


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    async def scene() -> None:
        backend = InstantBackend(capacity=1, step_seconds=3600)
        async with queue(tmp_path, backend=backend, max_queued=3, drain=0) as own:
            await own.submit()
            await until(lambda: len(backend.started) == 1)
            waiting = [await own.submit() for _ in range(3)]
            problem = await refused(own)
            assert (problem.status, problem.kind) == (429, "queue_full")
            assert int(problem.headers["Retry-After"]) >= 1
            await own.jobs.cancel(waiting[0].id)
            await own.submit()
            assert (await own.jobs.count())["queued"] == 3

    run(scene())


def test_a_crowd_never_exceeds_the_bound(tmp_path: Path) -> None:
    async def scene() -> None:
        backend = InstantBackend(capacity=1, step_seconds=3600)
        async with queue(tmp_path, backend=backend, max_queued=5, drain=0) as own:
            done = await asyncio.gather(*(own.submit() for _ in range(50)), return_exceptions=True)
            accepted = [each for each in done if not isinstance(each, BaseException)]
            counts = await own.jobs.count()
            assert counts["queued"] <= 5
            assert counts["queued"] + counts["running"] == len(accepted)
            assert all(each.kind == "queue_full" for each in done if isinstance(each, Problem))

    run(scene())


def order_of(backend: InstantBackend) -> list[int | None]:
    return [each.seed for each in backend.started]


async def held(own: Queue) -> None:
    """Keep the only place until the test has filled the queue."""
    own.backend.step_seconds = 3600
    begun = len(own.backend.started)
    own.first = await own.submit(request(seed=999), client="first")  # type: ignore[attr-defined]
    await until(lambda: len(own.backend.started) > begun)
    own.backend.step_seconds = 0


async def let_go(own: Queue) -> None:
    await own.jobs.cancel(own.first.id)  # type: ignore[attr-defined]


def test_clients_take_turns(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
            await held(own)
            for seed in range(20):
                await own.submit(request(seed=seed), client="many")
            late = [
                await own.submit(request(seed=100 + seed), client=client)
                for seed, client in ((0, "a"), (1, "b"), (2, "a"))
            ]
            place = await own.jobs.place(late[0])
            assert place is not None
            assert place.ahead <= 2
            await let_go(own)
            for job in await own.jobs.find(states=["queued"]):
                await own.end(job)
            order = order_of(own.backend)[1:]
            assert order[:3] in ([0, 100, 101], [100, 0, 101], [100, 101, 0])
            assert order.index(102) <= 6
            assert [seed for seed in order if seed is not None and seed < 100] == list(range(20))

    run(scene())


def test_higher_priority_goes_first(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
            await held(own)
            jobs = [await own.submit(request(seed=10 + p), priority=p) for p in (0, -10, 5, 10, 5)]
            await let_go(own)
            for job in jobs:
                await own.end(job)
            assert order_of(own.backend)[1:] == [20, 15, 15, 10, 0]

    run(scene())


@pytest.mark.parametrize(("pictures", "running"), [(1, 4), (2, 2), (3, 2), (9, 1)])
def test_no_more_runs_than_there_are_places(tmp_path: Path, pictures: int, running: int) -> None:
    async def scene() -> None:
        backend = InstantBackend(capacity=4, step_seconds=3600)
        async with queue(tmp_path, backend=backend, drain=0) as own:
            jobs = [await own.submit(request(seed=seed, batch_size=pictures)) for seed in range(8)]
            await until(lambda: len(backend.started) == running)
            for _ in range(3):  # each place that becomes free is taken once
                counts = await own.jobs.count(states=["queued", "running"])
                assert counts == {"queued": len(jobs) - running, "running": running}
                await own.end(await own.jobs.cancel(jobs.pop(0).id) or jobs[0])
                begun = len(backend.started)
                await until(lambda begun=begun: len(backend.started) > begun or len(backend.started) == 8)

    run(scene())


def test_a_model_that_loads_holds_up_nobody_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=2)) as own:
            own.backend.load_seconds = 3600
            slow = [await own.submit(request(model="other", seed=seed)) for seed in range(10)]
            quick = [await own.submit(request(seed=seed)) for seed in range(10)]
            for job in quick:
                assert (await own.end(job)).state == "succeeded"
            for job in slow:
                await own.jobs.cancel(job.id)
                assert (await own.end(job)).state == "cancelled"

    run(scene())


def test_cancelling(tmp_path: Path) -> None:
    async def scene() -> None:
        backend = InstantBackend(capacity=1, step_seconds=3600)
        async with queue(tmp_path, backend=backend) as own:
            running, waiting = await own.submit(), await own.submit()
            await until(lambda: backend.started)
            cancelled = await own.jobs.cancel(waiting.id)
            assert cancelled is not None
            assert (cancelled.state, cancelled.attempt) == ("cancelled", 0)
            asked = await own.jobs.cancel(running.id)
            assert asked is not None
            assert asked.cancel_requested
            ended = await own.end(running)
            assert (ended.state, ended.pictures, ended.failure) == ("cancelled", (), None)
            assert await own.jobs.cancel(running.id) == ended
            assert await own.jobs.cancel("nobody") is None
            backend.step_seconds = 0
            done = await own.finish()
            assert await own.jobs.cancel(done.id) == done
            assert done.state == "succeeded"

    run(scene())


@pytest.mark.parametrize("pause", range(8))
def test_whoever_is_first_wins_the_race_between_cancel_and_end(tmp_path: Path, pause: int) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            jobs = [await own.submit(request(seed=seed)) for seed in range(20)]
            for _ in range(pause):
                await asyncio.sleep(0)
            told = await asyncio.gather(*(own.jobs.cancel(job.id) for job in jobs))
            for before in told:
                assert before is not None
                job = await own.end(before)
                if before.cancel_requested or before.state == "cancelled":
                    assert (job.state, job.pictures) == ("cancelled", ())
                else:
                    assert job.state == "succeeded"
            kept = {picture.name for job in await own.jobs.find(limit=100) for picture in job.pictures}
        assert set(await own.outputs.find("")) == kept

    run(scene())


@pytest.mark.parametrize("pause", range(12))
def test_who_chose_the_id_may_cancel_before_the_acceptance_is_told(tmp_path: Path, pause: int) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(step_seconds=3600), drain=0) as own:
            accepting = asyncio.ensure_future(own.submit(id="mine"))
            for _ in range(pause):
                await asyncio.sleep(0)
            told = await own.jobs.cancel("mine")
            await accepting
            if told is not None:
                assert (await own.jobs.wait("mine", 60)).state == "cancelled"
                assert own.jobs.latest("mine") is None

    run(scene())


def test_a_caller_that_goes_away_leaves_nothing_half_done(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            accepting = asyncio.ensure_future(own.submit(id="mine"))
            for _ in range(3):
                await asyncio.sleep(0)
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            await own.finish()
            job = await own.jobs.get("mine")
            assert job is None or (await own.end(job)).state == "succeeded"

    run(scene())


def test_waiting(tmp_path: Path) -> None:
    async def scene() -> None:
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
                await own.jobs.wait("nobody")
            assert caught.value.status == 404

    run(scene())


def test_finding_and_counting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            jobs = [await own.finish(request(seed=n), dialect=("native", "openai")[n % 2]) for n in range(6)]
            failed = await own.finish(request(prompt="fail"))
            assert [job.id for job in await own.jobs.find()] == [job.id for job in reversed([*jobs, failed])]
            assert [job.id for job in await own.jobs.find(newest_first=False, limit=2, offset=1)] == [
                jobs[1].id,
                jobs[2].id,
            ]
            assert [job.id for job in await own.jobs.find(dialects=["openai"], limit=1)] == [jobs[5].id]
            assert [job.id for job in await own.jobs.find(states=["failed", "queued"])] == [failed.id]
            assert [job.id for job in await own.jobs.find(ids=[jobs[3].id, "nobody"])] == [jobs[3].id]
            assert await own.jobs.find(ids=[]) == await own.jobs.find(states=[]) == []
            none = {"queued": 0, "running": 0, "succeeded": 6, "failed": 1, "cancelled": 0}
            assert await own.jobs.count() == none
            assert await own.jobs.count(states=["succeeded"], dialects=["openai"]) == {"succeeded": 3}
            assert [job.sequence for job in jobs] == sorted(job.sequence for job in jobs)

    run(scene())


def test_a_place_in_the_queue_is_told_with_an_estimate(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
            first = await own.submit()
            unknown = await own.jobs.place(first)
            await own.end(first)
            assert unknown is None or unknown.wait is None
            await held(own)
            jobs = [await own.submit() for _ in range(3)]
            places = [await own.jobs.place(job) for job in jobs]
            assert [place.ahead for place in places if place] == [0, 1, 2]
            waits = [place.wait for place in places if place and place.wait is not None]
            assert len(waits) == 3
            assert waits == sorted(waits)
            await let_go(own)
            assert await own.jobs.place(await own.end(jobs[2])) is None

    run(scene())


def test_nothing_is_accepted_once_it_is_closed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            await own.finish()
        with pytest.raises(Problem) as caught:
            await own.jobs.accept(new())
        assert (caught.value.status, caught.value.kind) == (503, "shutting_down")
        with pytest.raises(Problem) as caught:
            await own.jobs.count()
        assert caught.value.status == 503

    run(scene())
