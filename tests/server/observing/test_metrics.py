"""Metrics count what happened by dialect and model, over HTTP as Prometheus reads them."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from engine import GenerationRequest
from server.backends.instant import InstantBackend
from server.job import Job, Picture
from server.observing.metrics import Metrics, Now
from server.queue.events import Event
from server.task import Task
from tests.server.conftest import RunningServer
from tests.server.following import wait_for

LABELS = {"dialect": "native", "model": "tiny"}
JOB = Job(
    id="a",
    sequence=1,
    state="running",
    tasks=tuple(
        map(
            Task.of,
            (
                GenerationRequest(model="tiny", steps=5),
                GenerationRequest(model="tiny", steps=4),
            ),
        )
    ),
    dialect="native",
    client="alice",
    priority=0,
    created=1.0,
)
DONE = dataclasses.replace(
    JOB,
    state="succeeded",
    pictures=tuple(Picture(name=f"{n}.png", width=8, height=8, seed=0, request=n, index=0) for n in range(2)),
    timings={"queued": 2.0, "sample": 3.0},
)


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def figure(text: str, name: str, **labels: str) -> float | None:
    return figures(text).get((name, frozenset(labels.items())))


def page(metrics: Metrics, **now: Any) -> str:
    return metrics.page(Now(**now)).decode()


def test_steps_are_counted_as_they_are_reported_and_never_twice() -> None:
    metrics = Metrics()
    metrics.event(Event(number=1, kind="started", job=JOB))
    for step in (1, 3, 3, 2):
        metrics.event(Event(number=2, kind="progress", job=JOB, request=0, step=step))
    assert figure(page(metrics), "sd_steps_total", **LABELS) == 3
    metrics.event(Event(number=3, kind="progress", job=JOB, request=0, step=5))
    metrics.event(Event(number=4, kind="finished", job=DONE))
    assert figure(page(metrics), "sd_steps_total", **LABELS) == 5 + 4  # one request reported no step


def test_a_second_attempt_counts_its_own_steps() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.event(Event(number=1, kind="started", job=JOB))
        metrics.event(Event(number=2, kind="progress", job=JOB, step=3))
    assert figure(page(metrics), "sd_steps_total", **LABELS) == 6


def test_the_end_of_a_job_is_counted_with_its_pictures_and_times() -> None:
    metrics = Metrics()
    metrics.event(Event(number=1, kind="finished", job=DONE))
    metrics.event(Event(number=2, kind="finished", job=dataclasses.replace(DONE, state="cancelled", pictures=())))
    text = page(metrics)
    assert figure(text, "sd_jobs_total", **LABELS, state="succeeded") == 1
    assert figure(text, "sd_jobs_total", **LABELS, state="cancelled") == 1
    assert figure(text, "sd_images_total", **LABELS) == 2
    assert figure(text, "sd_job_wait_seconds_sum", **LABELS) == 4
    assert figure(text, "sd_job_stage_seconds_sum", **LABELS, stage="sample") == 6
    assert figure(text, "sd_job_stage_seconds_sum", **LABELS, stage="queued") is None


def test_nothing_is_kept_of_a_job_that_is_done() -> None:
    metrics = Metrics()
    metrics.event(Event(number=1, kind="progress", job=JOB, step=1))
    assert metrics._done
    metrics.event(Event(number=2, kind="finished", job=DONE))
    assert not metrics._done


def test_what_the_backend_does_not_know_is_left_out() -> None:
    status = {"in_flight": 3, "resident": ["a", "b"], "ticks": 10, "evaluations": 25}
    text = page(Metrics(), ready=True, counts={"queued": 4}, status=status)
    assert figure(text, "sd_ready") == 1
    assert figure(text, "sd_jobs_waiting_or_running", state="queued") == 4
    assert figure(text, "sd_jobs_waiting_or_running", state="running") == 0
    assert figure(text, "sd_engine_resident") == 2
    assert figure(text, "sd_engine_evaluations_total") == 25
    assert figure(text, "sd_engine_memory_free") is None


def test_two_servers_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.http("GET", "/", 200, 0.1)
    assert figure(page(other), "sd_http_seconds_count", method="GET", route="/", status="200") is None


def test_a_server_tells_what_it_did(server: RunningServer) -> None:
    httpx.post(f"{server.url}/api/v1/generate", json={"steps": 3, "count": 2})
    httpx.post(f"{server.url}/v1/images/generations", json={"prompt": "a boat"})
    httpx.post(f"{server.url}/api/v1/generate", json={"prompt": "fail", "steps": 1})
    httpx.get(f"{server.url}/api/v1/jobs/unknown")
    httpx.get(f"{server.url}/nothing/{hashlib.sha256(b'').hexdigest()}")

    httpx.request("BREW", f"{server.url}/api/v1/generate")

    def text() -> str:
        return httpx.get(f"{server.url}/metrics").text

    native = {"dialect": "native", "model": "instant"}
    wait_for(lambda: figure(text(), "sd_jobs_total", **native, state="failed") == 1)
    text_of_page = text()
    assert figure(text_of_page, "sd_jobs_total", **native, state="succeeded") == 1
    assert figure(text_of_page, "sd_images_total", **native) == 2
    assert figure(text_of_page, "sd_steps_total", **native) == 3 + 3 + 1
    assert figure(text_of_page, "sd_images_total", dialect="openai", model="instant") == 1
    assert figure(text_of_page, "sd_http_seconds_count", method="POST", route="/api/v1/generate", status="200") == 1
    assert figure(text_of_page, "sd_http_seconds_count", method="GET", route="/api/v1/jobs/{job_id}", status="404") == 1
    assert "/nothing" not in text_of_page  # a path of a caller's own becomes no label
    assert "BREW" not in text_of_page
    assert figure(text_of_page, "sd_ready") == 1


def test_the_queue_is_seen(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), drain_seconds=0)
    for _ in range(3):
        httpx.post(f"{server.url}/api/v1/generate", json={"async": True})

    def counted(state: str) -> float | None:
        return figure(httpx.get(f"{server.url}/metrics").text, "sd_jobs_waiting_or_running", state=state)

    wait_for(lambda: (counted("queued") or 0) + (counted("running") or 0) == 3)
    wait_for(lambda: (counted("running") or 0) >= 1)
