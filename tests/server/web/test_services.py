"""Tests waiting for a job while the caller is connected."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer

BODY = {"width": 64, "height": 64, "steps": 3}


def call_and_hang_up(server: RunningServer, headers: str = "", until: Callable[[], object] | None = None) -> None:
    """Ask for a picture, and close the connection once ``until`` says so."""
    body = json.dumps(BODY).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /api/v1/generate HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait(until or (lambda: server.backend.requests))


def wait(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def only_job(server: RunningServer) -> dict[str, Any]:
    (job,) = httpx.get(f"{server.url}/api/v1/jobs").json()["jobs"]
    return dict(job)


def test_who_hangs_up_cancels(server: RunningServer) -> None:
    server.backend.step_seconds = 3600
    call_and_hang_up(server)
    wait(lambda: only_job(server)["state"] == "cancelled")


def test_who_has_a_key_does_not(server: RunningServer) -> None:
    server.backend.step_seconds = 0.2
    call_and_hang_up(server, "Idempotency-Key: k\r\n")
    wait(lambda: only_job(server)["state"] == "succeeded")
    again = httpx.post(f"{server.url}/api/v1/generate", json=BODY, headers={"Idempotency-Key": "k"}, timeout=60).json()
    assert again["job_id"] == only_job(server)["job_id"]


def test_who_hangs_up_while_it_waits_in_the_queue_cancels(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(InstantBackend(capacity=1, step_seconds=3600), drain_seconds=0.0)
    first = httpx.post(f"{server.url}/api/v1/generate", json=BODY | {"async": True}).json()["job_id"]
    wait(lambda: server.backend.requests)
    call_and_hang_up(server, until=lambda: len(httpx.get(f"{server.url}/api/v1/jobs").json()["jobs"]) == 2)

    def states() -> dict[str, str]:
        jobs = httpx.get(f"{server.url}/api/v1/jobs").json()["jobs"]
        return {job["job_id"]: job["state"] for job in jobs}

    wait(lambda: sorted(states().values()) == ["cancelled", "running"])
    assert states()[first] == "running"


def test_a_shutdown_cancels_nobody(open_server: Callable[..., RunningServer]) -> None:
    import asyncio

    from server.app import drain

    server = open_server(InstantBackend(step_seconds=3600), drain_seconds=0.1)
    answers: list[httpx.Response] = []
    calling = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{server.url}/api/v1/generate", json=BODY, timeout=60))
    )
    calling.start()
    wait(lambda: server.backend.requests)
    jobs = server.services.jobs
    asyncio.run_coroutine_threadsafe(drain(server.services), server.loop).result(60)
    calling.join()
    assert answers[0].status_code == 503
    assert answers[0].json()["kind"] == "shutting_down"
    (channel,) = jobs._hub._channels.values()
    assert channel.job is not None
    assert (channel.job.state, channel.job.excused, channel.job.cancel_requested) == ("queued", 1, False)
