"""Calls of AUTOMATIC1111's API, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from tests.server.conftest import RunningServer

PATIENCE = 60.0


def client_of(server: RunningServer) -> Iterator[httpx.Client]:
    """Yield a client of a server, for fixtures."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


def until(condition: Callable[[], Any]) -> Any:
    """Return what ``condition`` returns once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def txt2img(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/sdapi/v1/txt2img", json={"width": 64, "height": 64, "steps": 3, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def start(pool: ThreadPoolExecutor, client: httpx.Client, **fields: Any) -> Future[httpx.Response]:
    body = {"width": 64, "height": 64, "steps": 100, **fields}
    return pool.submit(client.post, "/sdapi/v1/txt2img", json=body)


def progress(client: httpx.Client, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/sdapi/v1/progress", params=query).json()
    return found


def progress_of_running(client: httpx.Client) -> dict[str, Any] | None:
    """Return the progress of the caller's job once it has made a step."""
    found = progress(client)
    return found if found["state"]["sampling_step"] > 0 else None
