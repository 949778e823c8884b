"""Readers of events see the same end, whenever they subscribe and however slow they are."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Progress
from server.backends.instant import InstantBackend
from server.job import Job
from server.problems import Problem
from server.queue.events import Event
from server.queue.hub import MAX_PENDING, Hub
from server.task import Task
from tests.server.queues import Queue, queue, request, until

pytestmark = pytest.mark.anyio


async def seen(own: Queue, id: str, after: int = 0) -> list[Event]:
    return [event async for event in own.jobs.events(id, after)]


def shape(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


async def test_a_reader_sees_the_whole_way(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=0.01)) as own:
        job = await own.submit(request(steps=3))
        events = await seen(own, job.id)
        assert shape(events)[:2] == ["queued", "started"] or shape(events)[0] == "started"
        assert shape(events)[-1] == "finished"
        assert shape(events).count("finished") == 1
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        steps = [event.step for event in events if event.kind == "progress"]
        assert steps == sorted(steps)
        assert {1, 2, 3} <= set(steps)
        assert all(event.steps == 3 for event in events if event.stage == "sampling")
        assert [event.preview.size for event in events if event.preview is not None] == [(8, 8)] * 3
        shares = [event.progress for event in events]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, 1.0)
        assert events[-1].job == await own.jobs.get(job.id)


async def test_a_reader_that_comes_back_sees_what_is_newer(tmp_path: Path) -> None:
    backend = InstantBackend(step_seconds=0.002)
    async with queue(tmp_path, backend=backend) as own:
        job = await own.submit(request(steps=30))
        last = 0
        numbers: list[int] = []
        for _ in range(200):
            async for event in own.jobs.events(job.id, last):
                numbers.append(event.number)
                last = event.number
                break
            if event.kind == "finished":
                break
        assert event.kind == "finished"
        assert numbers == sorted(set(numbers))
        assert await seen(own, job.id, last) == []
        assert shape(await seen(own, job.id)) == ["finished"]


async def test_numbers_grow_over_a_crash(tmp_path: Path) -> None:
    backend = InstantBackend(step_seconds=0.01)
    async with queue(tmp_path, backend=backend) as own:
        job = await own.submit(request(steps=1000))
        before: list[Event] = []
        async for event in own.jobs.events(job.id):
            before.append(event)
            if event.step == 5:
                break
        await own.crash()
    async with queue(tmp_path) as own:
        after = await seen(own, job.id, before[-1].number)
        assert after[0].number > before[-1].number
        assert shape(after)[-1] == "finished"
        numbers = [event.number for event in before + after]
        assert numbers == sorted(set(numbers))


async def test_the_latest_event_is_there_without_waiting(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1, step_seconds=3600)
    async with queue(tmp_path, backend=backend, drain=0) as own:
        running, waiting = await own.submit(), await own.submit()
        await until(lambda: backend.requests)
        latest, queued = own.jobs.latest(running.id), own.jobs.latest(waiting.id)
        assert latest is not None
        assert queued is not None
        assert (latest.kind, latest.stage, queued.kind) == ("progress", "sampling", "queued")
        await own.jobs.cancel(waiting.id)
        assert own.jobs.latest(waiting.id) is None
        assert own.jobs.latest("unknown") is None
        with pytest.raises(Problem):
            await seen(own, "unknown")


async def test_a_reader_of_all_jobs_sees_every_job_end(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        events = own.jobs.all_events()  # from now on, not from the first look
        jobs = [await own.submit(request(seed=n)) for n in range(10)]
        for job in jobs:
            await own.end(job)
        by_kind: dict[str, list[str]] = {"queued": [], "finished": []}
        async for event in events:
            if event.kind in by_kind:
                by_kind[event.kind].append(event.job.id)
            if len(by_kind["finished"]) == 10:
                break
        starts, ends = by_kind["queued"], by_kind["finished"]
        assert starts == [job.id for job in jobs]
        assert sorted(ends) == sorted(starts)


async def test_listening_ends_with_the_server(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600), drain=0) as own:
        job = await own.submit()

        async def listen() -> int:
            return len([event async for event in own.jobs.all_events()])

        reading = asyncio.gather(seen(own, job.id), listen())
        await until(lambda: own.backend.requests)
    one, every = await asyncio.wait_for(reading, 60)
    assert shape(one)[-1] == "queued"  # queued again
    assert every > 0


class HubScene:
    """A hub with jobs whose states the test changes by hand."""

    def __init__(self, watch: Callable[[Event], None] | None = None) -> None:
        self.hub = Hub()
        self.hub.watch = watch

    def accepted(self, id: str) -> Job:
        made = Job(
            id=id,
            sequence=1,
            state="queued",
            tasks=tuple(
                map(
                    Task.of,
                    (
                        request(),
                        request(),
                    ),
                )
            ),
            dialect="native",
            client="ann",
            priority=0,
            created=0.0,
        )
        self.hub.reserve(id)
        self.hub.queued(made)
        return made

    def started(self, made: Job) -> Job:
        running = dataclasses.replace(made, state="running", attempt=made.attempt + 1)
        self.hub.started(running)
        return running

    def ended(self, running: Job) -> None:
        self.hub.finished(dataclasses.replace(running, state="succeeded"))


async def test_a_slow_reader_misses_steps_and_never_the_end() -> None:
    own = HubScene()
    made = own.accepted("one")
    slow = own.hub.subscribe("one")
    assert slow is not None
    running = own.started(made)
    for step in range(5000):
        own.hub.progressed(running, step % 2, Progress(stage="sampling", step=step, steps=5000))
    assert slow.pending == 4
    own.ended(running)
    events = [event async for event in slow]
    assert [(event.kind, event.step) for event in events] == [
        ("queued", 0),
        ("started", 0),
        ("progress", 4998),
        ("progress", 4999),
        ("finished", 0),
    ]
    assert [event.number for event in events] == sorted(event.number for event in events)


async def test_a_reader_too_far_behind_is_dropped() -> None:
    own = HubScene()
    stuck, awake = own.hub.subscribe_all(), own.hub.subscribe_all()
    for number in range(MAX_PENDING):
        own.ended(own.started(own.accepted(f"job {number}")))
        for _ in range(3):
            await anext(awake)
    assert stuck.pending <= MAX_PENDING + 1
    assert len([event async for event in stuck]) <= MAX_PENDING + 1
    own.accepted("last")
    assert (await anext(awake)).job.id == "last"


async def test_a_reader_that_is_forgotten_costs_nothing() -> None:
    own = HubScene()
    own.accepted("one")
    readers = [own.hub.subscribe("one") for _ in range(5)] + [own.hub.subscribe_all() for _ in range(5)]
    forgotten = [weakref.ref(reader) for reader in readers if reader is not None]
    assert len(forgotten) == 10
    del readers
    gc.collect()
    assert [reader() for reader in forgotten] == [None] * 10


async def test_a_job_started_before_its_acceptance_was_published_is_published_in_order() -> None:
    own = HubScene()
    reader = own.hub.subscribe_all()
    made = own.accepted("known")
    own.hub.reserve("one")
    other = dataclasses.replace(made, id="one")
    running = own.started(other)
    own.hub.queued(other)  # late
    own.ended(running)
    own.hub.queued(other)  # later still
    kinds = [(await anext(reader)).kind for _ in range(reader.pending)]
    assert kinds == ["queued", "queued", "started", "finished"]
    assert own.hub.latest("one") is None


async def test_a_watcher_sees_every_event_and_stops_none(caplog: pytest.LogCaptureFixture) -> None:
    watched: list[str] = []

    def watch(event: Event) -> None:
        watched.append(event.kind)
        raise RuntimeError("a full disk, say")

    own = HubScene(watch)
    reader = own.hub.subscribe_all()
    running = own.started(own.accepted("one"))
    own.hub.progressed(running, 0, Progress(stage="sampling", step=1, steps=2))
    own.ended(running)
    assert [(await anext(reader)).kind for _ in range(reader.pending)] == watched
    assert watched == ["queued", "started", "progress", "finished"]
    assert "a full disk, say" in caplog.text
