"""Many clients call at once, in all dialects; some cancel or hang up. Nothing is lost and nothing is done twice.

``python -m benchmarks.load`` does the same at full length, and measures the times.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load.calls import DIALECTS, Call, Habits, plan_calls, read_mix, read_subjects
from benchmarks.load.target import LoadResult, Target, put_load
from benchmarks.measuring.workloads import Scale
from server.backends.instant import SHIPPED, InstantBackend
from server.job import Job
from tests.server.conftest import RunningServer
from tests.server.queues import PATIENCE, queue, request, until
from tests.server.stores import in_database

pytestmark = pytest.mark.anyio

SUBJECTS = "text=4,image=3,lora=1,outputs=1"


def calls(jobs: int, rate: float, **changed: Any) -> list[Call]:
    habits = Habits(mix=read_mix(",".join(DIALECTS)), cancels=0.15, hang_ups=0.2, **changed)
    scale = Scale(size=64, steps=2)
    return plan_calls(rate=rate, seconds=1, jobs=jobs, clients=50, scale=scale, habits=habits, seed=1, run=jobs)


def outcome_of(server: RunningServer, planned: list[Call]) -> LoadResult:
    picture = server.services.outputs.path("a.png")
    assert picture is not None
    return asyncio.run(put_load(Target(url=server.url, outputs=picture.parent), planned))


def ends(outcome: LoadResult) -> Counter[str]:
    return Counter(visit.end for visit in outcome.visits)


def forget_all(server: RunningServer, outcome: LoadResult) -> None:
    """Delete all jobs, and release what ComfyUI's callers and those of the native API have uploaded."""

    async def forget() -> None:
        await server.services.jobs.forget([row.id for row in outcome.rows])
        inputs = server.services.inputs
        for owner in {f"127.0.1.{number}" for number in range(1, 51)} | {"comfyui"}:
            for name in await inputs.named(owner):
                await inputs.release(owner, name)

    asyncio.run_coroutine_threadsafe(forget(), server.loop).result()


def test_nothing_is_lost_of_a_mixed_load_and_pictures_go_with_their_jobs(server: RunningServer) -> None:
    server.backend.step_seconds, server.backend.more_files = 0.02, SHIPPED
    outcome = outcome_of(server, calls(250, rate=100.0, linger=0.2, subjects=read_subjects(SUBJECTS)))
    folder = Path(server.services.settings.inputs)
    assert 1 <= len(list(folder.iterdir())) <= 6  # as many as the callers have different pictures
    forget_all(server, outcome)
    assert list(folder.iterdir()) == []
    assert outcome.wrong == []
    assert [visit.reason for visit in outcome.visits if visit.reason] == []
    seen = ends(outcome)
    assert seen["succeeded"] > 150
    assert seen["cancelled"]
    assert seen["left"]
    assert {row.state for row in outcome.rows} == {"succeeded", "cancelled"}


def test_nothing_is_lost_of_a_mixed_load_on_the_engine(engine_server: RunningServer) -> None:
    outcome = outcome_of(engine_server, calls(60, rate=60.0, linger=2.0))
    assert outcome.wrong == []
    assert [visit.reason for visit in outcome.visits if visit.reason] == []
    seen = ends(outcome)
    assert seen["succeeded"] > 30
    assert seen["cancelled"]


def test_what_a_full_queue_refuses_is_not_there_and_the_rest_is_done(
    open_server: Callable[..., RunningServer],
) -> None:
    server = open_server(InstantBackend(step_seconds=0.01, capacity=2), max_queued=5)
    outcome = outcome_of(server, calls(120, rate=1000.0, linger=0.05))
    assert outcome.wrong == []
    refused = [visit for visit in outcome.visits if visit.end == "refused"]
    assert refused
    assert all("429" in (visit.reason or "") for visit in refused)
    assert len(outcome.rows) <= len(outcome.visits) - len(refused)
    assert ends(outcome)["succeeded"]


async def test_a_job_that_is_cancelled_as_it_is_accepted_has_an_end(tmp_path: Path) -> None:
    """Both happen in one transaction; a caller that waits for the job sees its end, whichever is published first."""

    async with queue(tmp_path, backend=InstantBackend(capacity=1, step_seconds=3600), drain=0) as own:
        await own.submit()  # takes the only slot, so that the next one waits
        await until(lambda: own.backend.requests)
        hold = threading.Event()
        held = asyncio.ensure_future(in_database(own.store, lambda _: hold.wait(PATIENCE)))
        submitting = asyncio.ensure_future(own.submit(id="mine"))
        await asyncio.sleep(0.05)
        cancelling = asyncio.ensure_future(own.jobs.cancel("mine"))
        await asyncio.sleep(0.05)
        hold.set()
        await held
        cancelled = await cancelling
        assert cancelled is not None
        assert cancelled.state == "cancelled"
        assert (await own.end(await submitting)).state == "cancelled"
        assert own.jobs.latest("mine") is None


async def test_a_client_that_calls_again_after_the_end_is_answered(tmp_path: Path) -> None:
    """The call has the same id and the same key as before, as from a client that hung up."""

    async with queue(tmp_path) as own:

        async def again() -> Job:
            return await own.submit(request(seed=1), id="mine", idempotency_key="mine")

        ended = await own.end(await again())
        repeated = await again()
        assert repeated == ended
        assert (await own.end(repeated)).state == "succeeded"
        events = [event.kind async for event in own.jobs.events("mine")]
        assert events == ["finished"]
