"""Tests jobs across restarts of the server: after an orderly end and after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from engine import GenerationRequest
from server.backends.instant import InstantBackend
from server.job import Job
from server.pictures.storage import PictureFiles
from server.queue.jobs import Jobs
from server.store import StoreUnusable
from server.store.sqlite.store import SqliteStore
from tests.server.queues import Queue, new, queue, request, settings_in, until

pytestmark = pytest.mark.anyio


async def pixels(own: Queue, job: Job) -> list[bytes]:
    from io import BytesIO

    from PIL import Image

    return [Image.open(BytesIO(await own.outputs.read(each.name))).tobytes() for each in job.pictures]


async def test_closing_lets_running_jobs_end(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=0.01)) as own:
        jobs = [await own.submit() for _ in range(5)]
        await until(lambda: len(own.backend.requests) == 5)
    async with queue(tmp_path) as own:
        assert {(await own.end(job)).state for job in jobs} == {"succeeded"}
        assert {(await own.end(job)).attempt for job in jobs} == {1}


async def test_a_request_that_an_older_version_accepted_can_be_read_and_fails_alone(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
        await own.submit()
        await until(lambda: own.backend.requests)
        old, valid = await own.submit(request(seed=2**64 - 1)), await own.submit()
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database, database:
        changed = "json_set(tasks, '$[0].request.steps', 99999, '$[0].request.gone', 1)"
        database.execute(f"UPDATE jobs SET tasks = {changed} WHERE id = ?", [old.id])
    async with queue(tmp_path) as own:
        ended = await own.end(old)
        assert (ended.requests[0].steps, ended.requests[0].seed) == (99999, 2**64 - 1)
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.field) == ("bad_request", "steps")
        assert (await own.end(valid)).state == "succeeded"


async def test_what_waited_before_a_restart_is_not_accepted_again(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    before: list[str] = []
    async with queue(tmp_path, backend=backend, drain=0, watch=lambda event: before.append(event.kind)) as own:
        jobs = [await own.submit() for _ in range(3)]
        await until(lambda: len(backend.requests) == 1)
    assert before.count("queued") >= 3
    after: list[str] = []
    async with queue(tmp_path, watch=lambda event: after.append(event.kind)) as own:
        for job in jobs:
            await own.end(job)
    assert (after.count("queued"), after.count("started"), after.count("finished")) == (0, 3, 3)


async def test_closing_queues_again_what_does_not_end_and_counts_no_attempt(tmp_path: Path) -> None:
    for _ in range(5):  # more often than a job may be attempted
        async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
            if not await own.found():
                job = await own.submit(request(seed=None))
                waiting = asyncio.ensure_future(own.jobs.wait(job.id))
            await until(lambda own=own: own.backend.requests)
    assert (await waiting).state == "queued"
    async with queue(tmp_path) as own:
        ended = await own.end(job)
        assert (ended.state, ended.attempt, ended.excused) == ("succeeded", 6, 5)
        assert ended.requests == job.requests


async def test_a_crash_loses_no_job_and_changes_no_picture(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=3, step_seconds=3600)) as own:
        jobs = [await own.submit(request(seed=None, batch_size=2)) for _ in range(6)]
        await until(lambda: len(own.backend.requests) >= 2)
        await own.crash()
    async with queue(tmp_path) as own:
        assert [job.id for job in await own.found(newest_first=False)] == [job.id for job in jobs]
        for job in jobs:
            ended = await own.end(job)
            assert (ended.state, ended.requests) == ("succeeded", job.requests)
            reference = await own.finish(*job.requests)
            assert await pixels(own, ended) == await pixels(own, reference)


async def test_what_was_cancelled_stays_so_over_a_crash(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600)) as own:
        job = await own.submit()
        await until(lambda: own.backend.requests)
        await own.store.cancel(job.id, 1.0)  # and the process ends before the backend hears of it
        await own.crash()
    async with queue(tmp_path) as own:
        ended = await own.end(job)
        assert (ended.state, ended.attempt) == ("cancelled", 1)


async def test_a_job_that_brings_the_server_down_is_given_up_and_no_other(tmp_path: Path) -> None:
    """Jobs that ran beside it died as often. Each last attempt runs alone, so that only the culprit fails."""

    culprit = request(prompt="boom")
    ids: list[str] = []
    while True:
        backend = InstantBackend(step_seconds=0.01)
        async with queue(tmp_path, backend=backend) as own:
            if not ids:
                for number in range(4):
                    ids.append((await own.submit(request(seed=number))).id)
                ids.append((await own.submit(culprit)).id)

            def done(own: Queue = own) -> bool:
                return not any(own.jobs.latest(id) for id in ids)

            await until(
                lambda done=done, own=own: any(each.prompt == "boom" for each in own.backend.requests) or done()
            )
            if done():
                break
            await own.crash()
    async with queue(tmp_path) as own:
        jobs = await own.found(newest_first=False)
        assert [job.state for job in jobs] == ["succeeded"] * 4 + ["failed"]
        assert jobs[-1].failure is not None
        assert (jobs[-1].failure.kind, jobs[-1].attempt) == ("attempts_exhausted", 3)


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        other = SqliteStore(Path(own.settings.database))
        with pytest.raises(StoreUnusable, match="in use by another server"):
            await other.open()
        assert (await own.finish()).state == "succeeded"
    await other.open()
    await other.close()


async def test_a_queue_from_before_is_carried_on_in_its_order(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
        wanted: list[GenerationRequest] = [request(seed=n) for n in range(10)]
        for each in wanted:
            await own.jobs.accept(new(each))
    async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
        for job in await own.found():
            await own.end(job)
        assert [each.seed for each in own.backend.requests] == list(range(10))


async def test_a_job_that_is_claimed_while_the_server_stops_is_queued_again(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        accepting = asyncio.ensure_future(own.submit())
        await asyncio.sleep(0)  # the store is asked to accept the job and to start it
        closing = asyncio.ensure_future(own.jobs.close(0))
        job = await accepting
        await closing
        assert own.backend.requests == []
    async with queue(tmp_path) as own:
        job = await own.end(job)
        assert (job.state, job.attempt, job.excused) == ("succeeded", 2, 1)


async def test_a_queue_in_memory_writes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_in(tmp_path, database=":memory:")
    jobs = Jobs(settings, InstantBackend(), PictureFiles(settings.outputs))
    await jobs.start()
    job = await jobs.accept(new())
    assert (await jobs.wait(job.id, 0)).state == "queued"
    await jobs.close(0)
    assert list(tmp_path.iterdir()) == []
