"""Jobs over the ends of the server: orderly ones, crashes, and a storage that fails."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import EngineClosed, GenerationRequest, GenerationResult
from server.backend import Listener
from server.fake import InstantBackend
from server.job import Job
from server.outputs import Outputs
from server.problems import Problem
from server.store import StoreFailed, StoreUnusable
from server.store.sqlite import SqliteStore
from tests.server.queues import Queue, new, queue, request, run, settings_in, until


async def pixels(own: Queue, job: Job) -> list[bytes]:
    from io import BytesIO

    from PIL import Image

    return [Image.open(BytesIO(await own.outputs.read(each.name))).tobytes() for each in job.pictures]


async def crash(own: Queue) -> None:
    """End as a killed process does: nothing is settled, nothing is told."""
    runner = own.jobs._runner
    assert runner._beginning is not None
    runner._beginning.cancel()
    for each in list(runner._runs.values()):
        assert each.task is not None
        assert each.work is not None
        each.task.cancel()
        each.work.cancel()
    await own.jobs._store.close()


def test_closing_lets_running_jobs_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(step_seconds=0.01)) as own:
            jobs = [await own.submit() for _ in range(5)]
            await until(lambda: len(own.backend.started) == 5)
        async with queue(tmp_path) as own:
            assert {(await own.end(job)).state for job in jobs} == {"succeeded"}
            assert {(await own.end(job)).attempt for job in jobs} == {1}

    run(scene())


def test_closing_puts_what_does_not_end_back_and_counts_no_attempt(tmp_path: Path) -> None:
    async def scene() -> None:
        for _ in range(5):  # more often than a job may be attempted
            async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
                if not await own.jobs.find():
                    job = await own.submit(request(seed=None))
                    waiting = asyncio.ensure_future(own.jobs.wait(job.id))
                await until(lambda own=own: own.backend.started)
        assert (await waiting).state == "queued"
        async with queue(tmp_path) as own:
            ended = await own.end(job)
            assert (ended.state, ended.attempt, ended.excused) == ("succeeded", 6, 5)
            assert ended.requests == job.requests

    run(scene())


def test_a_crash_loses_no_job_and_changes_no_picture(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=3, step_seconds=3600)) as own:
            jobs = [await own.submit(request(seed=None, batch_size=2)) for _ in range(6)]
            await until(lambda: len(own.backend.started) >= 2)
            await crash(own)
        async with queue(tmp_path) as own:
            assert [job.id for job in await own.jobs.find(newest_first=False)] == [job.id for job in jobs]
            for job in jobs:
                ended = await own.end(job)
                assert (ended.state, ended.requests) == ("succeeded", job.requests)
                reference = await own.finish(*job.requests)
                assert await pixels(own, ended) == await pixels(own, reference)

    run(scene())


def test_what_was_cancelled_stays_so_over_a_crash(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(step_seconds=3600)) as own:
            job = await own.submit()
            await until(lambda: own.backend.started)
            await own.jobs._store.cancel(job.id, 1.0)  # and the process ends before anybody acts on it
            await crash(own)
        async with queue(tmp_path) as own:
            ended = await own.end(job)
            assert (ended.state, ended.attempt) == ("cancelled", 1)

    run(scene())


def test_a_job_that_brings_the_server_down_is_given_up_and_no_other(tmp_path: Path) -> None:
    """All that ran beside it died as often; on the last attempt each runs alone, so only the culprit is blamed."""

    async def scene() -> None:
        culprit = request(prompt="boom")
        ids: list[str] = []
        while True:
            backend = InstantBackend(step_seconds=0.01)
            async with queue(tmp_path, backend=backend) as own:
                if not ids:
                    for number in range(4):
                        ids.append((await own.submit(request(seed=number))).id)
                    ids.append((await own.submit(culprit)).id)
                await until(
                    lambda own=own: (
                        any(each.prompt == "boom" for each in own.backend.started) or not own.jobs._hub._channels
                    )
                )
                if not own.jobs._hub._channels:
                    break
                await crash(own)
        async with queue(tmp_path) as own:
            jobs = await own.jobs.find(newest_first=False)
            assert [job.state for job in jobs] == ["succeeded"] * 4 + ["failed"]
            assert jobs[-1].failure is not None
            assert (jobs[-1].failure.kind, jobs[-1].attempt) == ("attempts_exhausted", 3)

    run(scene())


def test_files_of_dead_attempts_go_and_others_stay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(step_seconds=3600)) as own:
            job = await own.submit()
            await until(lambda: own.backend.started)
            await crash(own)
        folder = tmp_path / "outputs"
        folder.mkdir(exist_ok=True)
        dead = [f"{job.token}-1-0.png", f"{job.token}-1-1.png.part"]
        foreign = ["0" * 32 + "-1-0.png", "holiday.png"]
        for name in dead + foreign:
            (folder / name).write_bytes(b"")
        async with queue(tmp_path) as own:
            ended = await own.end(job)
            kept = {picture.name for picture in ended.pictures}
            assert kept == {f"{job.token}-2-0.png"}
            await until(lambda: not any((folder / name).exists() for name in dead))
        assert {path.name for path in folder.iterdir()} == kept | set(foreign)
        async with queue(tmp_path):
            pass
        assert {path.name for path in folder.iterdir()} == kept | set(foreign)

    run(scene())


def test_a_second_process_is_told_to_stay_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            other = SqliteStore(own.settings.database)
            with pytest.raises(StoreUnusable, match="in use by another server"):
                await other.open()
            assert (await own.finish()).state == "succeeded"
        await other.open()
        await other.close()

    run(scene())


class BrokenOutputs(Outputs):
    """Writing fails as often as the test says; each time one file is left half written."""

    def __init__(self, url: str, failures: int) -> None:
        super().__init__(url)
        self.failures = failures

    async def write(self, name: str, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        await super().write(name, data)


def test_a_full_disk_fails_the_job_and_the_server_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.finishing._WRITE_PAUSES", (0.0, 0.0))

    async def scene() -> None:
        outputs = BrokenOutputs(str(tmp_path / "outputs"), failures=5)
        async with queue(tmp_path, outputs=outputs) as own:
            failed = await own.finish(request(batch_size=2))
            assert failed.failure is not None
            assert (failed.state, failed.failure.kind) == ("failed", "storage_failed")
            assert "No space left" in failed.failure.message
            assert await outputs.find("") == []
            outputs.failures = 2
            assert (await own.finish()).state == "succeeded"

    run(scene())


class FailingStore(SqliteStore):
    """Its ends of jobs fail as often as the test says."""

    failures = 0

    async def finish(self, *arguments: Any) -> Job | None:
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the database failed: disk I/O error")
        return await super().finish(*arguments)

    async def claim(self, **named: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the database failed: disk I/O error")
        return await super().claim(**named)


def test_a_database_that_fails_for_a_while_costs_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.finishing._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("server.runner._PAUSE_SECONDS", 0.0)

    async def scene() -> None:
        stores: list[FailingStore] = []

        def make(settings: Any) -> FailingStore:
            stores.append(FailingStore(settings.database))
            return stores[-1]

        async with queue(tmp_path, store=make) as own:
            stores[0].failures = 5
            assert (await own.finish()).state == "succeeded"
            assert stores[0].failures == 0

    run(scene())


def test_what_cannot_be_committed_is_not_accepted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            thread = own.jobs._store._thread  # type: ignore[attr-defined]
            await own.finish()
            pages = await thread.do(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
            await thread.do(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 8}"))
            many = (own.submit(extra={"much": "x" * 10_000}) for _ in range(100))
            done = await asyncio.gather(*many, return_exceptions=True)
            kinds = {each.kind for each in done if isinstance(each, Problem)}
            assert kinds == {"storage_failed"}
            with pytest.raises(Problem) as caught:
                await own.submit(extra={"much": "x" * 100_000})
            assert caught.value.status == 507
            accepted = await own.jobs.find(limit=1000)
            await thread.do(lambda db: db.execute("PRAGMA max_page_count = 1000000"))
            for job in accepted:
                assert (await own.end(job)).state == "succeeded"

    run(scene())


class DyingBackend(InstantBackend):
    """Its engine stops, as one whose thread has died."""

    dead = 0

    async def run(self, requests: Any, listen: Listener) -> list[GenerationResult]:
        if self.dead:
            self.dead -= 1
            raise EngineClosed("the engine's thread has ended")
        return await super().run(requests, listen)


@pytest.mark.parametrize(("deaths", "end"), [(2, "succeeded"), (3, "failed")])
def test_an_engine_that_dies_costs_an_attempt(tmp_path: Path, deaths: int, end: str) -> None:
    async def scene() -> None:
        backend = DyingBackend()
        backend.dead = deaths
        async with queue(tmp_path, backend=backend) as own:
            job = await own.finish()
            assert (job.state, job.attempt) == (end, 3)
            if job.failure is not None:
                assert job.failure.kind == "attempts_exhausted"

    run(scene())


def test_an_error_of_any_kind_settles_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> list[bytes]:
        raise MemoryError("no room for the picture")

    async def scene() -> None:
        async with queue(tmp_path) as own:
            with monkeypatch.context() as patched:
                patched.setattr("server.finishing.encoded", broken)
                failed = await own.finish()
            assert failed.failure is not None
            assert failed.failure.kind == "generation_failed"
            assert (await own.finish()).state == "succeeded"

    run(scene())


@pytest.mark.parametrize(
    "keep", [{"retention_seconds": 0.001, "retention_jobs": None}, {"retention_seconds": None, "retention_jobs": 2}]
)
def test_finished_jobs_are_kept_for_a_while(tmp_path: Path, keep: dict[str, Any]) -> None:
    async def scene() -> None:
        async with queue(tmp_path, retention_seconds=None, retention_jobs=None) as own:
            jobs = [await own.finish(request(seed=n), client=f"c{n}") for n in range(5)]
        backend = InstantBackend(step_seconds=3600)
        async with queue(tmp_path, backend=backend, drain=0, **keep) as own:
            running = await own.submit()
            await until(lambda: backend.started)
            await asyncio.sleep(0.01)
            await own.jobs._housekeeping.tidy()
            left = await own.jobs.find(newest_first=False)
            kept = [] if keep["retention_seconds"] else [job.id for job in jobs[-2:]]
            assert [job.id for job in left] == [*kept, running.id]
            assert len(await own.outputs.find("")) == len(kept)

    run(scene())


def test_forgetting_takes_the_pictures_along(tmp_path: Path) -> None:
    async def scene() -> None:
        backend = InstantBackend()
        async with queue(tmp_path, backend=backend, drain=0) as own:
            gone, kept = await own.finish(), await own.finish()
            backend.step_seconds = 3600
            running = await own.submit()
            assert await own.jobs.forget([gone.id, running.id, "nobody"]) == 1
            assert await own.jobs.get(gone.id) is None
            assert await own.jobs.get(running.id) is not None
            assert await own.outputs.find("") == [picture.name for picture in kept.pictures]
            assert await own.jobs.forget([]) == 0

    run(scene())


def test_a_number_is_never_given_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path) as own:
            first = await own.finish()
            await own.jobs.forget([first.id])
        async with queue(tmp_path) as own:
            assert (await own.finish()).sequence > first.sequence

    run(scene())


@pytest.mark.parametrize("spoil", ["text", "later", "folder"])
def test_a_database_that_is_none_is_refused(tmp_path: Path, spoil: str) -> None:
    settings = settings_in(tmp_path)
    makers: dict[str, Callable[[Path], object]] = {
        "text": lambda path: path.write_text("not a database, " * 1000),
        "later": lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close(),
        "folder": lambda path: path.mkdir(),
    }
    makers[spoil](settings.database)

    async def scene() -> None:
        store = SqliteStore(settings.database)
        with pytest.raises(StoreUnusable, match=r"database: .*jobs"):
            await store.open()

    run(scene())


def test_a_queue_from_before_is_carried_on_in_its_order(tmp_path: Path) -> None:
    async def scene() -> None:
        async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
            wanted: list[GenerationRequest] = [request(seed=n) for n in range(10)]
            for each in wanted:
                await own.jobs.accept(new(each))
        async with queue(tmp_path, backend=InstantBackend(capacity=1)) as own:
            for job in await own.jobs.find():
                await own.end(job)
            assert [each.seed for each in own.backend.started] == list(range(10))

    run(scene())
