"""What happens to jobs, told to the log and the metrics. Knows neither HTTP nor the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from server.observing.metrics import Metrics
from server.queue.events import Event

log = logging.getLogger(__name__)


def watcher(metrics: Metrics) -> Callable[[Event], None]:
    """What is to be called with every event."""

    def watch(event: Event) -> None:
        metrics.event(event)
        tell(event)

    return watch


def tell(event: Event) -> None:
    """A log line for what matters to an operator. No prompt is in it."""
    job = event.job
    told: dict[str, Any] = {"job": job.id, "dialect": job.dialect, "client": job.client, "model": job.model}
    if event.kind == "queued":
        said = "job accepted" if job.attempt == 0 else "job queued again"
        log.info(said, extra=told | {"requests": len(job.requests), "priority": job.priority})
    elif event.kind == "started":
        log.info("job started", extra=told | {"attempt": job.attempt})
    elif event.kind == "finished":
        seconds = {f"{stage}_seconds": value for stage, value in job.timings.items()}
        if job.failure is None:
            log.info("job %s", job.state, extra=told | {"pictures": len(job.pictures)} | seconds)
        else:
            log.warning("job failed", extra=told | {"kind": job.failure.kind} | seconds)
