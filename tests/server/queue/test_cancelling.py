"""Jobs are cancelled at once, within a step, or too late, whatever else happens at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.backends.instant import InstantBackend
from server.job import Job
from server.store import Claimed
from server.store.memory.store import MemoryStore
from tests.server.queues import queue, request, until

pytestmark = pytest.mark.anyio


async def test_cancelling(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    async with queue(tmp_path, backend=backend) as own:
        running, waiting = await own.submit(), await own.submit()
        await until(lambda: backend.requests)
        cancelled = await own.jobs.cancel(waiting.id)
        assert cancelled is not None
        assert (cancelled.state, cancelled.attempt) == ("cancelled", 0)
        asked = await own.jobs.cancel(running.id)
        assert asked is not None
        assert asked.cancel_requested
        ended = await own.end(running)
        assert (ended.state, ended.pictures, ended.failure) == ("cancelled", (), None)
        assert await own.jobs.cancel(running.id) == ended
        assert await own.jobs.cancel("unknown") is None
        backend.step_seconds = 0
        done = await own.finish()
        assert await own.jobs.cancel(done.id) == done
        assert done.state == "succeeded"


@pytest.mark.parametrize("pause", range(8))
async def test_the_first_wins_the_race_between_cancel_and_end(tmp_path: Path, pause: int) -> None:
    async with queue(tmp_path) as own:
        jobs = [await own.submit(request(seed=seed)) for seed in range(20)]
        for _ in range(pause):
            await asyncio.sleep(0)
        answers = await asyncio.gather(*(own.jobs.cancel(job.id) for job in jobs))
        for before in answers:
            assert before is not None
            job = await own.end(before)
            if before.cancel_requested or before.state == "cancelled":
                assert (job.state, job.pictures) == ("cancelled", ())
            else:
                assert job.state == "succeeded"
        kept = {picture.name for job in await own.found() for picture in job.pictures}
    assert set(await own.outputs.find("")) == kept


@pytest.mark.parametrize("pause", range(12))
async def test_a_job_with_a_chosen_id_may_be_cancelled_before_it_is_published(tmp_path: Path, pause: int) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600), drain=0) as own:
        accepting = asyncio.ensure_future(own.submit(id="mine"))
        for _ in range(pause):
            await asyncio.sleep(0)
        cancelled = await own.jobs.cancel("mine")
        await accepting
        if cancelled is not None:
            assert (await own.jobs.wait("mine", 60)).state == "cancelled"
            assert own.jobs.latest("mine") is None


class CancellingStore(MemoryStore):
    """A store that lets a test act between a claim and what follows."""

    async def after_claim(self, job: Job) -> None:
        """Do nothing, until the test says otherwise."""

    async def claim(self, **named: Any) -> Claimed:  # type: ignore[override]
        claimed = await super().claim(**named)
        for job in claimed.jobs:
            await self.after_claim(job)
        return claimed


async def test_a_cancel_that_comes_right_after_the_claim_is_heard(tmp_path: Path) -> None:
    async def cancel(job: Job) -> None:
        cancelled = await own.jobs.cancel(job.id)
        assert cancelled is not None
        assert cancelled.cancel_requested

    store = CancellingStore()
    backend = InstantBackend(step_seconds=3600)
    async with queue(tmp_path, backend=backend, drain=0, store=lambda settings: store) as own:
        store.after_claim = cancel  # type: ignore[method-assign]
        job = await own.end(await own.submit())
        assert (job.state, job.attempt) == ("cancelled", 1)
