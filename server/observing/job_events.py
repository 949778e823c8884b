"""Passes what happens to jobs on to the log and the metrics. Knows neither HTTP nor the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from server.job import Job
from server.observing.metrics import Metrics
from server.queue.events import Event

log = logging.getLogger(__name__)


def watcher(metrics: Metrics) -> Callable[[Event], None]:
    """Return a function to be called with every event."""

    def watch(event: Event) -> None:
        metrics.event(event)
        log_event(event)

    return watch


def log_event(event: Event) -> None:
    """Write a log line about what matters to an operator; it holds no prompt."""
    job = event.job
    if event.kind == "queued":
        message = "job accepted" if job.attempt == 0 else "job queued again"
        log.info(message, extra=_named(job) | {"requests": len(job.tasks), "priority": job.priority})
    elif event.kind == "started":
        log.info("job started", extra=_named(job) | {"attempt": job.attempt})
    elif event.kind == "finished":
        seconds = {f"{stage}_seconds": value for stage, value in job.timings.items()}
        if job.failure is None:
            log.info("job %s", job.state, extra=_named(job) | {"pictures": len(job.pictures)} | seconds)
        else:
            log.warning("job failed", extra=_named(job) | {"kind": job.failure.kind} | seconds)


def _named(job: Job) -> dict[str, Any]:
    return {"job": job.id, "dialect": job.dialect, "client": job.client, "model": job.model}
