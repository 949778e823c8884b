"""Tests how long jobs are kept, and what is removed with them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from server.backends.instant import InstantBackend
from server.pictures.storage import PictureFiles
from tests.server.queues import queue, request, until

pytestmark = pytest.mark.anyio


async def test_files_of_dead_attempts_go_and_others_stay(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600)) as own:
        job = await own.submit()
        await until(lambda: own.backend.requests)
        await own.crash()
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


@pytest.mark.parametrize(
    "keep", [{"retention_seconds": 0.001, "retention_jobs": None}, {"retention_seconds": None, "retention_jobs": 2}]
)
async def test_finished_jobs_are_kept_for_a_while(tmp_path: Path, keep: dict[str, Any]) -> None:
    async with queue(tmp_path, retention_seconds=None, retention_jobs=None) as own:
        jobs = [await own.finish(request(seed=n), client=f"c{n}") for n in range(5)]
    backend = InstantBackend(step_seconds=3600)
    async with queue(tmp_path, backend=backend, drain=0, **keep) as own:
        running = await own.submit()
        await until(lambda: backend.requests)
        await asyncio.sleep(0.01)
        await own.jobs.tidy()
        left = await own.found(newest_first=False)
        kept = [] if keep["retention_seconds"] else [job.id for job in jobs[-2:]]
        assert [job.id for job in left] == [*kept, running.id]
        assert len(await own.outputs.find("")) == len(kept)


class StickyOutputs(PictureFiles):
    """A storage that refuses to remove some pictures."""

    stuck: frozenset[str] = frozenset()

    async def remove(self, names: Collection[str]) -> None:
        if self.stuck & set(names):
            raise PermissionError("not yours")
        await super().remove(names)


async def test_a_picture_that_cannot_be_removed_keeps_its_job_alone(tmp_path: Path) -> None:
    async with queue(tmp_path, retention_seconds=None, retention_jobs=None) as own:
        jobs = [await own.finish(request(seed=n)) for n in range(5)]
    outputs = StickyOutputs(str(tmp_path / "outputs"))
    outputs.stuck = frozenset(picture.name for picture in jobs[1].pictures)
    async with queue(tmp_path, outputs=outputs, retention_seconds=None, retention_jobs=1) as own:
        await own.jobs.tidy()
        assert [job.id for job in await own.found(newest_first=False)] == [jobs[1].id, jobs[4].id]
        outputs.stuck = frozenset()
        assert await own.jobs.tidy() == 1


async def test_forgetting_takes_the_pictures_along(tmp_path: Path) -> None:
    backend = InstantBackend()
    async with queue(tmp_path, backend=backend, drain=0) as own:
        gone, kept = await own.finish(), await own.finish()
        backend.step_seconds = 3600
        running = await own.submit()
        assert await own.jobs.forget([gone.id, running.id, "unknown"]) == 1
        assert await own.jobs.get(gone.id) is None
        assert await own.jobs.get(running.id) is not None
        assert await own.outputs.find("") == [picture.name for picture in kept.pictures]
        assert await own.jobs.forget([]) == 0


async def test_a_number_is_never_given_again(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        first = await own.finish()
        await own.jobs.forget([first.id])
    async with queue(tmp_path) as own:
        assert (await own.finish()).sequence > first.sequence
