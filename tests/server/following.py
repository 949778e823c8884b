"""Looks at a running server's jobs from outside its event loop, for tests of several dialects."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Awaitable, Callable
from functools import partial

import httpx
from PIL import Image

from server.job import Job
from server.store import Search
from tests.server.conftest import RunningServer

_PATIENCE = 120.0

get = partial(httpx.get, timeout=_PATIENCE)
post = partial(httpx.post, timeout=_PATIENCE)


def all_jobs(server: RunningServer) -> list[Job]:
    """Return all jobs, the oldest first."""
    found = asyncio.run_coroutine_threadsafe(server.services.jobs.find(Search(newest_first=False)), server.loop)
    return found.result(_PATIENCE).jobs


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds. Fails after a time that is long enough for every machine."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


async def hang_up_on(server: RunningServer, call: Awaitable[object]) -> None:
    """Make a call of an asynchronous client, and close its connection once its job runs."""
    calling = asyncio.ensure_future(call)
    while not server.backend.requests:
        assert not calling.done(), "it was answered"
        await asyncio.sleep(0.01)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling


def input_of(server: RunningServer, job: Job, name: str) -> Image.Image:
    """Return the picture that the job's first task has by the name of a parameter of its request, such as ``mask``."""
    task = job.tasks[0]
    kept = task.inputs[getattr(task.request, name)]
    read = asyncio.run_coroutine_threadsafe(server.services.inputs.read(kept), server.loop)
    return Image.open(io.BytesIO(read.result(_PATIENCE)))


def png_of(image: Image.Image) -> bytes:
    """Return an image as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
