"""A running job shows the pictures of its tasks that have ended, and keeps them when it is interrupted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import GenerationRequest
from server.backends.instant import InstantBackend
from server.job import Job
from server.store import Made, StoreFailed
from server.store.memory.store import MemoryStore
from tests.server.queues import Queue, queue, request, until

pytestmark = pytest.mark.anyio

STEP = 0.02


def short(seed: int) -> GenerationRequest:
    return request(seed=seed, steps=1)


def endless(seed: int) -> GenerationRequest:
    return request(seed=seed, steps=1000)


async def shows(own: Queue, job: Job, number: int) -> Job:
    """Return the job once its row shows that many pictures."""
    for _ in range(10_000):
        found = await own.jobs.get(job.id)
        assert found is not None
        if len(found.pictures) == number:
            return found
        await asyncio.sleep(0.005)
    raise TimeoutError


async def files(own: Queue) -> set[str]:
    return set(await own.outputs.find(""))


def names(job: Job) -> set[str]:
    return {picture.name for picture in job.pictures}


async def test_a_running_job_shows_what_is_done_and_it_can_be_read(tmp_path: Path) -> None:
    backend = InstantBackend(step_seconds=STEP)
    async with queue(tmp_path, backend=backend, drain=0) as own:
        job = await own.submit(endless(0), short(1), endless(2), short(3))
        running = await shows(own, job, 2)
        assert (running.state, [picture.seed for picture in running.pictures]) == ("running", [1, 3])
        assert running.timings["encode_png"] > 0
        assert await files(own) == names(running)
        for name in names(running):
            assert (await own.outputs.read(name))[:4] == b"\x89PNG"
        backend.step_seconds = 0
        ended = await own.end(job)
        assert [picture.seed for picture in ended.pictures] == [0, 1, 2, 3]
        assert names(running) < names(ended) == await files(own)


async def test_an_interrupted_job_keeps_what_is_done(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=STEP)) as own:
        job = await own.submit(endless(0), short(1), endless(2), short(3))
        running = await shows(own, job, 2)
        asked = await own.jobs.interrupt(job.id)
        assert asked is not None
        assert (asked.state, asked.interrupted) == ("running", True)
        ended = await own.end(job)
        assert (ended.state, ended.pictures, ended.failure) == ("succeeded", running.pictures, None)
        assert await own.jobs.interrupt(job.id) == ended
        assert await files(own) == names(ended)
        assert own.backend.status()["in_flight"] == 0


async def test_an_interrupted_job_without_pictures_is_cancelled(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    async with queue(tmp_path, backend=backend) as own:
        running, waiting = await own.submit(), await own.submit()
        await until(lambda: backend.requests)
        for job in (waiting, running):
            await own.jobs.interrupt(job.id)
            ended = await own.end(job)
            assert (ended.state, ended.interrupted, ended.pictures) == ("cancelled", True, ())
        assert await own.jobs.interrupt("unknown") is None


@pytest.mark.parametrize("fails", [False, True])
async def test_a_job_that_is_cancelled_or_fails_leaves_none_of_the_pictures_that_it_showed(
    tmp_path: Path, fails: bool
) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=2, step_seconds=STEP)) as own:
        last = request(prompt="fail", steps=25) if fails else endless(2)
        job = await own.submit(short(0), last, endless(1))
        await shows(own, job, 1)
        if not fails:
            await own.jobs.cancel(job.id)
        ended = await own.end(job)
        assert (ended.state, ended.pictures) == ("failed" if fails else "cancelled", ())
        assert await files(own) == set()


@pytest.mark.parametrize("pause", range(8))
async def test_each_picture_is_kept_or_gone_whenever_the_interrupt_comes(tmp_path: Path, pause: int) -> None:
    async with queue(tmp_path) as own:
        jobs = [await own.submit(*(request(seed=seed) for seed in range(4))) for _ in range(10)]
        for _ in range(4 * pause):
            await asyncio.sleep(0)
        await asyncio.gather(*(own.jobs.interrupt(job.id) for job in jobs))
        ends = [await own.end(job) for job in jobs]
        assert all(end.state == ("succeeded" if end.pictures else "cancelled") for end in ends)
    assert await files(own) == {name for end in ends for name in names(end)}


async def test_skipping_gives_up_what_is_under_way_and_makes_the_rest(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=2, step_seconds=STEP)) as own:
        job = await own.submit(endless(0), endless(1), short(2), endless(3))
        await until(lambda: own.backend.status()["in_flight"] == 2)
        await own.jobs.skip(job.id)
        await shows(own, job, 1)
        await own.jobs.skip(job.id)  # no other task follows the last one
        ended = await own.end(job)
        assert (ended.state, [picture.seed for picture in ended.pictures]) == ("succeeded", [2])
        assert own.backend.status()["in_flight"] == 0


async def test_a_job_that_goes_on_after_a_skip_ends_by_itself(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=STEP)) as own:
        job = await own.submit(endless(0), short(1), short(2))
        await until(lambda: own.backend.requests)
        await own.jobs.skip(job.id)
        ended = await own.end(job)
        assert (ended.state, ended.interrupted, [each.seed for each in ended.pictures]) == ("succeeded", False, [1, 2])
        await own.jobs.skip("unknown")


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_crash_keeps_pictures_only_of_what_was_interrupted(tmp_path: Path, interrupted: bool) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=STEP)) as own:
        job = await own.submit(short(0), endless(1))
        before = await shows(own, job, 1)
        if interrupted:
            await own.store.cancel(job.id, 1.0, keep=True)  # and the process ends before the backend hears of it
        await own.crash()
    backend = InstantBackend(step_seconds=STEP)
    async with queue(tmp_path, backend=backend) as own:
        if interrupted:
            ended = await own.end(job)
            assert (ended.state, ended.attempt, ended.pictures) == ("succeeded", 1, before.pictures)
            assert await files(own) == names(before)
            return
        running = await shows(own, job, 1)  # of its own
        assert (running.state, running.attempt) == ("running", 2)
        assert names(running).isdisjoint(names(before))
        backend.step_seconds = 0
        ended = await own.end(job)
        assert [picture.seed for picture in ended.pictures] == [0, 1]
        assert names(running) < names(ended) == await files(own)


async def test_closing_removes_what_an_attempt_that_is_to_run_again_showed(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=STEP), drain=0) as own:
        job = await own.submit(short(0), endless(1))
        await shows(own, job, 1)
    assert await files(own) == set()
    async with queue(tmp_path) as own:
        ended = await own.end(job)
        assert (ended.state, len(ended.pictures)) == ("succeeded", 2)
        assert await files(own) == names(ended)


class SilentStore(MemoryStore):
    """A store that shows nothing."""

    async def show(self, id: str, attempt: int, made: Made) -> Any:
        raise StoreFailed("the database failed: disk I/O error")


async def test_a_job_succeeds_although_its_pictures_could_not_be_shown(tmp_path: Path) -> None:
    async with queue(tmp_path, store=lambda settings: SilentStore()) as own:
        ended = await own.finish(*(request(seed=seed) for seed in range(4)))
        assert [picture.seed for picture in ended.pictures] == [0, 1, 2, 3]


async def test_a_job_never_has_many_more_pictures_than_the_storage_has_written(tmp_path: Path) -> None:
    """A slow storage slows the backend down, so that pictures do not pile up in memory."""

    async with queue(tmp_path, backend=InstantBackend(capacity=2)) as own:
        writing = asyncio.Event()
        write = own.outputs.write

        async def held(name: str, make: Any) -> None:
            await writing.wait()
            await write(name, make)

        own.outputs.write = held  # type: ignore[method-assign]
        job = await own.submit(*(request(seed=seed) for seed in range(20)))
        await until(lambda: len(own.backend.requests) >= 4)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(own.backend.requests) <= 6
        writing.set()
        assert len((await own.end(job)).pictures) == 20
