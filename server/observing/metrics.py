"""Measures the server for Prometheus: its queue, its jobs by dialect and model, its engine and its HTTP requests.

It has a registry of its own, so that two servers in one process do not mix. It counts, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine import __version__
from server.job import Job
from server.queue.events import Event

M = TypeVar("M", Counter, Histogram)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
_OF_JOB = ("dialect", "model")

_COUNTERS = {
    "ticks": "Rounds of the engine's loop",
    "evaluations": "Denoised predictions, of one picture each; per tick: how many advanced together",
}
_GAUGES = {
    "in_flight": "Pictures that advance together now",
    "memory_total": "Bytes of the device's memory",
    "memory_free": "Bytes of the device's memory that are free",
    "memory_used": "Bytes of the device's memory that are used",
    "resident": "Checkpoints that are loaded",
}


@dataclass(frozen=True, kw_only=True)
class Now:
    """The state of the server at the moment of a scrape."""

    ready: bool = False
    counts: Mapping[Any, int] = field(default_factory=dict)
    """The number of jobs in each state."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """The backend's figures; those that it does not have are left out of the page."""


class Metrics:
    """All measurements of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._now = _NowCollector()
        registry.register(self._now)
        Gauge("sd_info", "The server's version", ["version"], registry=registry).labels(__version__).set(1)
        self._jobs = Counter("sd_jobs", "Jobs that came to their end", [*_OF_JOB, "state"], registry=registry)
        self._images = Counter("sd_images", "Pictures made", _OF_JOB, registry=registry)
        self._steps = Counter("sd_steps", "Sampling steps done", _OF_JOB, registry=registry)
        self._wait = Histogram(
            "sd_job_wait_seconds", "From acceptance to the start", _OF_JOB, buckets=_SECONDS, registry=registry
        )
        self._stages = Histogram(
            "sd_job_stage_seconds", "Time by stage", [*_OF_JOB, "stage"], buckets=_SECONDS, registry=registry
        )
        self._http = Histogram(
            "sd_http_seconds", "HTTP requests", ["method", "route", "status"], buckets=_SECONDS, registry=registry
        )
        self._children: dict[tuple[str, ...], Any] = {}
        self._done: dict[str, dict[tuple[int, str | None], int]] = {}

    def _of(self, metric: M, *labels: str) -> M:
        """Return the counter of these labels, which is looked up once, since that takes longer than counting."""
        name = (metric._name, *labels)
        if name not in self._children:
            self._children[name] = metric.labels(*labels)
        found: M = self._children[name]
        return found

    def http(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request that was answered; ``route`` is the path's pattern, of which there are few."""
        self._of(self._http, method, route, str(status)).observe(seconds)

    def event(self, event: Event) -> None:
        """Count what an event says about a job."""
        job = event.job
        if event.kind == "progress":
            done = self._done.setdefault(job.id, {})
            sampling = event.request, event.node
            before = done.setdefault(sampling, 0)
            if event.step > before:
                self._of(self._steps, job.dialect, job.model).inc(event.step - before)
                done[sampling] = event.step
        elif event.kind in ("queued", "started"):
            self._done.pop(job.id, None)  # a second attempt starts from zero
        elif event.kind == "finished":
            self._finished(job, (job.dialect, job.model))

    def page(self, now: Now) -> bytes:
        """Return the page that Prometheus reads."""
        self._now.now = now
        return generate_latest(self.registry)

    def _finished(self, job: Job, labels: tuple[str, str]) -> None:
        done = self._done.pop(job.id, {})
        self._of(self._jobs, *labels, job.state).inc()
        if job.state == "succeeded":
            self._of(self._images, *labels).inc(len(job.pictures))
            counted = {number for number, _ in done}
            uncounted = [task.steps for number, task in enumerate(job.tasks) if number not in counted]
            self._of(self._steps, *labels).inc(sum(uncounted))  # they were too quick to report their steps
        for stage, seconds in job.timings.items():
            if stage == "queued":
                self._of(self._wait, *labels).observe(seconds)
            else:
                self._of(self._stages, *labels, stage).observe(seconds)


class _NowCollector(Collector):
    """Collects the figures that are not counted but looked up."""

    def __init__(self) -> None:
        self.now = Now()

    def collect(self) -> Iterator[Metric]:
        now = self.now
        yield GaugeMetricFamily("sd_ready", "Whether a request would start at once", float(now.ready))
        queue = GaugeMetricFamily("sd_jobs_waiting_or_running", "Jobs that are not done, by state", labels=["state"])
        for state in ("queued", "running"):
            queue.add_metric([state], now.counts.get(state, 0))
        yield queue
        for name, text in _GAUGES.items():
            if name in now.status:
                value = now.status[name]
                yield GaugeMetricFamily(f"sd_engine_{name}", text, len(value) if isinstance(value, list) else value)
        for name, text in _COUNTERS.items():
            if name in now.status:
                yield CounterMetricFamily(f"sd_engine_{name}", text, now.status[name])
