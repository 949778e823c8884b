"""A failing disk, database or engine costs only the jobs that it must, and the server goes on."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine import EngineClosed, GenerationResult
from engine.formats.png import encode_png
from server.backends.instant import InstantBackend
from server.job import Job
from server.pictures.storage import PictureFiles
from server.problems import Problem
from server.settings import Settings
from server.store import StoreFailed, StoreUnusable
from server.store.sqlite.store import SqliteStore
from tests.server.queues import queue, request, settings_in, until
from tests.server.stores import in_database

pytestmark = pytest.mark.anyio


class BrokenOutputs(PictureFiles):
    """PictureFiles that fail to write as often as the test says."""

    def __init__(self, url: str, failures: int) -> None:
        super().__init__(url)
        self.failures = failures
        self._counting = threading.Lock()

    def _write(self, name: str, data: bytes) -> None:
        with self._counting:
            fails = self.failures > 0
            self.failures -= fails
        if fails:
            raise OSError(28, "No space left on device")
        super()._write(name, data)


async def test_a_full_disk_fails_the_job_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.queue.output._WRITE_PAUSES", (0.0, 0.0))

    outputs = BrokenOutputs(str(tmp_path / "outputs"), failures=5)
    async with queue(tmp_path, outputs=outputs) as own:
        failed = await own.finish(request(batch_size=2))
        assert failed.failure is not None
        assert (failed.state, failed.failure.kind) == ("failed", "storage_failed")
        assert "No space left" in failed.failure.message
        assert await outputs.find("") == []
        outputs.failures = 2
        assert (await own.finish()).state == "succeeded"


async def test_what_is_written_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.queue.output._WRITE_PAUSES", (0.0, 0.0))
    made = itertools.count()

    def counting(*arguments: Any) -> bytes:
        next(made)
        return encode_png(*arguments)

    monkeypatch.setattr("server.pictures.formats.encode_png", counting)

    outputs = BrokenOutputs(str(tmp_path / "outputs"), failures=1)
    async with queue(tmp_path, outputs=outputs) as own:
        assert (await own.finish(request(batch_size=4))).state == "succeeded"
    assert next(made) == 5


class FailingStore(SqliteStore):
    """A store that fails to write the ends of jobs as often as the test says."""

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

    async def requeue(self, *arguments: Any, **named: Any) -> Job | None:
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the database failed: disk I/O error")
        return await super().requeue(*arguments, **named)


def failing(stores: list[FailingStore]) -> Callable[[Settings], FailingStore]:
    """Return a function that makes a store and puts it into ``stores``."""

    def make(settings: Settings) -> FailingStore:
        stores.append(FailingStore(Path(settings.database)))
        return stores[-1]

    return make


async def test_a_database_that_fails_for_a_while_costs_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.queue.finishing._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("server.queue.dispatcher._PAUSE_SECONDS", 0.0)

    stores: list[FailingStore] = []
    async with queue(tmp_path, store=failing(stores)) as own:
        stores[0].failures = 5
        assert (await own.finish()).state == "succeeded"
        assert stores[0].failures == 0


async def test_a_cancel_is_settled_although_the_database_fails_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.queue.finishing._PAUSE_SECONDS", 0.0)

    stores: list[FailingStore] = []
    async with queue(tmp_path, store=failing(stores), backend=InstantBackend(step_seconds=3600.0)) as own:
        job = await own.submit()
        await until(lambda: own.backend.requests)
        stores[0].failures = 3
        await own.jobs.cancel(job.id)
        assert (await own.end(job)).state == "cancelled"
        assert stores[0].failures == 0


async def test_jobs_start_whatever_went_wrong_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.queue.dispatcher._PAUSE_SECONDS", 0.0)

    class Stumbling(SqliteStore):
        stumbles = 2

        async def claim(self, **named: Any) -> Any:
            if self.stumbles:
                self.stumbles -= 1
                raise MemoryError
            return await super().claim(**named)

    async with queue(tmp_path, store=lambda settings: Stumbling(Path(settings.database))) as own:
        assert (await own.finish()).state == "succeeded"


async def test_a_job_that_would_not_be_accepted_any_more_fails_alone(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=0.01)) as own:
        await own.submit(request(steps=50))
        old, later = await own.submit(), await own.submit()
        with sqlite3.connect(own.settings.database) as database:
            database.execute("UPDATE jobs SET tasks = replace(tasks, '\"euler\"', '\"gone\"') WHERE id = ?", (old.id,))
        database.close()
        assert (await own.end(later)).state == "succeeded"
        (found,) = await own.found(ids=[old.id])
        assert found.requests[0].sampler == "gone"


async def test_what_cannot_be_committed_is_not_accepted(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        await own.finish()
        pages = await in_database(own.store, lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await in_database(own.store, lambda db: db.execute(f"PRAGMA max_page_count = {pages + 8}"))
        many = (own.submit(extra={"much": "x" * 10_000}) for _ in range(100))
        done = await asyncio.gather(*many, return_exceptions=True)
        kinds = {each.kind for each in done if isinstance(each, Problem)}
        assert kinds == {"storage_failed"}
        with pytest.raises(Problem) as caught:
            await own.submit(extra={"much": "x" * 100_000})
        assert caught.value.status == 507
        accepted = await own.found(limit=1000)
        await in_database(own.store, lambda db: db.execute("PRAGMA max_page_count = 1000000"))
        for job in accepted:
            assert (await own.end(job)).state == "succeeded"


class DyingBackend(InstantBackend):
    """A backend whose engine stops, as if its thread had died."""

    dead = 0

    async def run(self, *arguments: Any, **named: Any) -> GenerationResult:
        if self.dead:
            self.dead -= 1
            raise EngineClosed("the engine's thread has ended")
        return await super().run(*arguments, **named)


@pytest.mark.parametrize(("deaths", "end"), [(2, "succeeded"), (3, "failed")])
async def test_an_engine_that_dies_costs_an_attempt(tmp_path: Path, deaths: int, end: str) -> None:
    backend = DyingBackend()
    backend.dead = deaths
    async with queue(tmp_path, backend=backend) as own:
        job = await own.finish()
        assert (job.state, job.attempt) == (end, 3)
        if job.failure is not None:
            assert job.failure.kind == "attempts_exhausted"


async def test_an_error_of_any_kind_settles_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Image.Image, *rest: Any) -> bytes:
        if next(numbers):
            raise MemoryError("no room for the picture")
        return encode_png(image, *rest)

    numbers = itertools.count()

    outputs = PictureFiles(str(tmp_path / "outputs"))
    async with queue(tmp_path, outputs=outputs) as own:
        with monkeypatch.context() as patched:
            patched.setattr("server.pictures.formats.encode_png", broken)
            failed = await own.finish(request(batch_size=2))
        assert failed.failure is not None
        assert failed.failure.kind == "generation_failed"
        assert await outputs.find("") == []  # nor the picture that there was room for
        assert (await own.finish()).state == "succeeded"


@pytest.mark.parametrize("spoil", ["text", "later", "folder"])
async def test_a_database_that_is_none_is_refused(tmp_path: Path, spoil: str) -> None:
    settings = settings_in(tmp_path)
    makers: dict[str, Callable[[Path], object]] = {
        "text": lambda path: path.write_text("not a database, " * 1000),
        "later": lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close(),
        "folder": lambda path: path.mkdir(),
    }
    makers[spoil](Path(settings.database))

    store = SqliteStore(Path(settings.database))
    with pytest.raises(StoreUnusable, match=r"database: .*jobs"):
        await store.open()
