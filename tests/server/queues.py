"""Runs jobs for tests without HTTP: on a database and a folder of the test's own, with pictures made at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import GenerationRequest
from server.backends.instant import InstantBackend
from server.job import Job, NewJob, State
from server.pictures.storage import PictureFiles
from server.queue.events import Event
from server.queue.jobs import Jobs
from server.settings import Settings
from server.store import Search, Store
from server.store.sqlite.store import SqliteStore
from server.webhooks.messages import Body, Composer
from server.webhooks.targets import Resolve, resolve

PATIENCE = 60.0
"""The seconds after which a test gives up on what should happen at once."""


@dataclass(eq=False)
class Queue:
    """Running jobs, and the parts that they run on."""

    jobs: Jobs
    backend: InstantBackend
    outputs: PictureFiles
    settings: Settings
    store: Store
    drain: float
    """Seconds that running jobs get at the end of the block."""

    async def crash(self) -> None:
        """End as a killed process does: from now on nothing is settled, so that the rows stay as they are."""
        await self.store.close()
        self.drain = 0.0

    async def submit(self, *requests: GenerationRequest, **named: Any) -> Job:
        return await self.jobs.accept(new(*requests, **named))

    async def finish(self, *requests: GenerationRequest, **named: Any) -> Job:
        job = await self.submit(*requests, **named)
        return await self.end(job)

    async def found(self, **search: Any) -> list[Job]:
        """Return the jobs of a search, the newest first."""
        return (await self.jobs.find(Search(**search))).jobs

    async def counts(self, **search: Any) -> dict[State, int]:
        """Return how many jobs a search has in each state."""
        return dict((await self.jobs.find(Search(limit=0, **search))).counts)

    async def end(self, job: Job) -> Job:
        ended = await self.jobs.wait(job.id, PATIENCE)
        assert ended.done, f"the job is still {ended.state}"
        return ended


def request(**parameters: Any) -> GenerationRequest:
    return GenerationRequest(**({"width": 64, "height": 64, "steps": 2} | parameters))


def new(*requests: GenerationRequest, **named: Any) -> NewJob:
    return NewJob(**({"wanted": requests or (request(),), "dialect": "native", "client": "ann"} | named))


def settings_in(folder: Path, **values: Any) -> Settings:
    own: dict[str, Any] = {"database": folder / "jobs.sqlite", "outputs": str(folder / "outputs"), "drain_seconds": 5.0}
    own |= {"inputs": str(folder / "inputs")}
    own |= {"cache_folder": None, "backend": "instant", "webhook_private_addresses": True}
    return Settings(**(own | values))


@contextlib.asynccontextmanager
async def queue(
    folder: Path,
    *,
    backend: InstantBackend | None = None,
    outputs: PictureFiles | None = None,
    store: Callable[[Settings], Store] | None = None,
    bodies: Mapping[str, Body] | None = None,
    resolve: Resolve = resolve,
    watch: Callable[[Event], None] | None = None,
    drain: float = PATIENCE,
    **values: Any,
) -> AsyncIterator[Queue]:
    """Run jobs until the end of the block."""
    settings = settings_in(folder, **values)
    made = backend or InstantBackend()
    kept = outputs or PictureFiles(settings.outputs)
    rows = store(settings) if store else SqliteStore(Path(settings.database), compose=Composer(bodies or {}))
    jobs = Jobs(settings, made, kept, bodies, store=rows, resolve=resolve, watch=watch)
    await jobs.start()
    own = Queue(jobs, made, kept, settings, rows, drain)
    try:
        await made.start()
        yield own
    finally:
        await jobs.close(own.drain)
        await made.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run a test's scene on an event loop of its own, and check that nothing is left over."""
    asyncio.run(scene)
