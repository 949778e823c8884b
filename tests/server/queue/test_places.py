"""One look at the queue answers all callers that ask at a time, and no caller gets an old answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pytest

from server.backends.instant import InstantBackend
from server.job import Job
from server.problems import Problem
from server.queue.estimate import Estimate
from server.queue.hub import Hub
from server.queue.places import Places
from server.store import StoreFailed
from server.task import Task
from tests.server.queues import queue, request, until

pytestmark = pytest.mark.anyio


class Looks:
    """A store that answers when the test says so, with the number of times that it was asked."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.answers = asyncio.Semaphore(0)
        self.failing = False

    async def jobs_ahead(self, ids: Collection[str]) -> dict[str, int]:
        self.asked.append(set(ids))
        number = len(self.asked)
        await self.answers.acquire()
        if self.failing:
            raise StoreFailed("no disk")
        return dict.fromkeys(ids, number)


def queued(id: str) -> Job:
    common: dict[str, Any] = {"dialect": "native", "client": "ann", "priority": 0, "created": 0.0}
    return Job(id=id, sequence=1, state="queued", tasks=tuple(map(Task.of, (request(),))), **common)


async def ahead(places: Places, id: str) -> int:
    place = (await places.of([queued(id)]))[id]
    assert place is not None
    return place.ahead


async def test_callers_that_ask_during_a_look_share_the_next_one() -> None:
    store = Looks()
    places = Places(cast(Any, store), Hub(), Estimate())
    first = asyncio.ensure_future(ahead(places, "a"))
    await until(lambda: len(store.asked) == 1)
    later = [asyncio.ensure_future(ahead(places, id)) for id in "bcbcd"]
    for _ in range(10):
        await asyncio.sleep(0)
    later[4].cancel()  # that caller goes away, which does not affect the others
    assert store.asked == [{"a"}]
    store.answers.release()
    assert await first == 1
    store.answers.release()
    assert await asyncio.gather(*later[:4]) == [2] * 4
    assert store.asked == [{"a"}, {"b", "c", "d"}]
    store.answers.release()
    assert await ahead(places, "e") == 3  # not an answer from before it asked


async def test_a_look_that_fails_fails_for_its_callers_alone() -> None:
    store = Looks()
    store.failing = True
    places = Places(cast(Any, store), Hub(), Estimate())
    asking = [asyncio.ensure_future(ahead(places, id)) for id in "ab"]
    store.answers.release()
    for each in asking:
        with pytest.raises(Problem, match="no disk"):
            await each
    store.failing = False
    store.answers.release()
    assert await ahead(places, "c") == 2


async def test_where_jobs_stand(tmp_path: Path) -> None:
    backend = InstantBackend(capacity=1)
    async with queue(tmp_path, backend=backend, drain=0) as own:
        done = await own.finish(request(steps=9))
        backend.step_seconds = 3600
        jobs = [await own.submit(request(steps=9)) for _ in range(4)]
        await until(lambda: len(backend.requests) == 2)
        found = [await own.jobs.get(each.id) for each in (done, *jobs)]
        places_of = await own.jobs.places([each for each in found if each is not None])
        assert places_of[done.id] is None
        places = [places_of[each.id] for each in jobs]
        assert [place and place.ahead for place in places] == [0, 0, 1, 2]
        waits = [place.wait for place in places if place is not None and place.wait is not None]
        assert len(waits) == 4
        assert waits == sorted(waits)
