"""Tests the order in which jobs start, how many run at once, and what callers learn about the wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.backends.instant import InstantBackend
from tests.server.queues import Queue, queue, request, until

pytestmark = pytest.mark.anyio


def order_of(backend: InstantBackend) -> list[int | None]:
    return [each.seed for each in backend.requests]


async def held(own: Queue) -> None:
    """Keep the only slot busy until the test has filled the queue."""
    own.backend.step_seconds = 3600
    started = len(own.backend.started)
    own.first = await own.submit(request(seed=999), client="first")  # type: ignore[attr-defined]
    await until(lambda: len(own.backend.started) > started)
    own.backend.step_seconds = 0


async def let_go(own: Queue) -> None:
    await own.jobs.cancel(own.first.id)  # type: ignore[attr-defined]


async def test_clients_take_turns(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
        await held(own)
        for seed in range(20):
            await own.submit(request(seed=seed), client="many")
        late = [
            await own.submit(request(seed=100 + seed), client=client) for seed, client in ((0, "a"), (1, "b"), (2, "a"))
        ]
        place = await own.jobs.place(late[0])
        assert place is not None
        assert place.ahead <= 2
        await let_go(own)
        for job in await own.found(states=["queued"]):
            await own.end(job)
        order = order_of(own.backend)[1:]
        assert order[:3] in ([0, 100, 101], [100, 0, 101], [100, 101, 0])
        assert order.index(102) <= 6
        assert [seed for seed in order if seed is not None and seed < 100] == list(range(20))


async def test_higher_priority_goes_first(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
        await held(own)
        jobs = [await own.submit(request(seed=10 + p), priority=p) for p in (0, -10, 5, 10, 5)]
        await let_go(own)
        for job in jobs:
            await own.end(job)
        assert order_of(own.backend)[1:] == [20, 15, 15, 10, 0]


@pytest.mark.parametrize(("pictures", "running"), [(1, 4), (2, 2), (3, 2), (9, 1)])
async def test_no_more_runs_than_there_are_slots(tmp_path: Path, pictures: int, running: int) -> None:
    backend = InstantBackend(capacity=4, step_seconds=3600)
    async with queue(tmp_path, backend=backend, drain=0) as own:
        jobs = [await own.submit(request(seed=seed, batch_size=pictures)) for seed in range(8)]
        await until(lambda: len(backend.started) == running)
        for _ in range(3):  # each slot that becomes free is taken once
            counts = await own.counts(states=["queued", "running"])
            assert counts == {"queued": len(jobs) - running, "running": running}
            started = len(backend.started)
            first = jobs.pop(0)
            await own.jobs.cancel(first.id)
            await own.end(first)
            await until(lambda started=started: len(backend.started) > started)


async def test_a_large_job_leaves_slots_to_others_as_its_pictures_end(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=4, step_seconds=0.01)
    async with queue(tmp_path, backend=backend) as own:
        large = [await own.submit(*[request(seed=n) for n in range(64)], client="large") for _ in range(2)]
        await until(lambda: len(backend.started) >= 4)
        small = [await own.submit(request(seed=100 + n), client="small") for n in range(10)]
        for job in small:
            await own.end(job)
        assert len(backend.started) < 64
        for job in large:
            assert len((await own.end(job)).pictures) == 64


@pytest.mark.parametrize("clients", [("a",), ("a", "b")])
async def test_a_large_job_has_all_slots_that_no_other_client_wants(tmp_path: Path, clients: tuple[str, ...]) -> None:
    backend = InstantBackend(capacity=4, step_seconds=0.005)
    async with queue(tmp_path, backend=backend) as own:
        requests = [request(seed=n) for n in range(16)]
        jobs = [await own.submit(*requests, client=client) for client in clients for _ in range(3)]
        most = 0
        while not (await own.jobs.get(jobs[-1].id)).done:  # type: ignore[union-attr]
            most = max(most, backend.status()["in_flight"])
            running = await own.found(states=["running"])
            assert len([job for job in running if job.client == "a"]) <= 2  # one may be writing its pictures
            await asyncio.sleep(0)
        assert most == 4
        for job in jobs:
            assert [each.seed for each in (await own.end(job)).pictures] == list(range(16))


async def test_a_large_job_ends_while_the_server_drains(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=2, step_seconds=0.005)
    async with queue(tmp_path, backend=backend) as own:
        job = await own.submit(*[request(seed=n) for n in range(12)])
        await until(lambda: backend.started)
    async with queue(tmp_path) as own:
        ended = await own.jobs.get(job.id)
        assert ended is not None
        assert (ended.state, ended.attempt) == ("succeeded", 1)


async def test_a_large_job_that_fails_or_is_cancelled_frees_its_slots(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=2)
    async with queue(tmp_path, backend=backend) as own:
        failing = await own.finish(request(), request(), request(prompt="fail"), *[request()] * 20)
        assert failing.state == "failed"
        backend.step_seconds = 3600
        stopped = await own.submit(*[request()] * 20)
        await until(lambda: backend.status()["in_flight"] == 2)
        await own.jobs.cancel(stopped.id)
        assert (await own.end(stopped)).state == "cancelled"
        backend.step_seconds = 0
        assert (await own.finish(*[request()] * 5)).state == "succeeded"


async def test_a_model_that_loads_does_not_hold_up_other_models(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=2)) as own:
        own.backend.load_seconds = 3600
        slow = [await own.submit(request(model="other", seed=seed)) for seed in range(10)]
        quick = [await own.submit(request(seed=seed)) for seed in range(10)]
        for job in quick:
            assert (await own.end(job)).state == "succeeded"
        for job in slow:
            await own.jobs.cancel(job.id)
            assert (await own.end(job)).state == "cancelled"


async def test_a_place_in_the_queue_comes_with_an_estimate(tmp_path: Path) -> None:
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
