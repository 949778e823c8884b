"""Cancelling: at once, within a step, or too late, whoever else is at it at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.backends.instant import InstantBackend
from tests.server.queues import queue, request, until

pytestmark = pytest.mark.anyio


async def test_cancelling(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("pause", range(8))
async def test_whoever_is_first_wins_the_race_between_cancel_and_end(tmp_path: Path, pause: int) -> None:
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
        kept = {picture.name for job in await own.found() for picture in job.pictures}
    assert set(await own.outputs.find("")) == kept


@pytest.mark.parametrize("pause", range(12))
async def test_who_chose_the_id_may_cancel_before_the_acceptance_is_told(tmp_path: Path, pause: int) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600), drain=0) as own:
        accepting = asyncio.ensure_future(own.submit(id="mine"))
        for _ in range(pause):
            await asyncio.sleep(0)
        told = await own.jobs.cancel("mine")
        await accepting
        if told is not None:
            assert (await own.jobs.wait("mine", 60)).state == "cancelled"
            assert own.jobs.latest("mine") is None


async def test_a_cancel_that_comes_right_after_the_claim_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600), drain=0) as own:
        claim = own.jobs._store.claim

        async def claim_and_cancel(**named: Any) -> Any:
            claimed = await claim(**named)
            for job in claimed.jobs:
                told = await own.jobs.cancel(job.id)
                assert told is not None
                assert told.cancel_requested
            return claimed

        monkeypatch.setattr(own.jobs._store, "claim", claim_and_cancel)
        job = await own.end(await own.submit())
        assert (job.state, job.attempt) == ("cancelled", 1)
