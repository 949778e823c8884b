"""Estimates how long jobs will take, from those that ended lately. Knows no queue and no database."""

from __future__ import annotations

from collections import deque

from server.job import Job

_LATEST = 50


class Estimate:
    """What recent jobs say about the seconds that work takes, and about how many jobs share the device."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, float, int]] = deque(maxlen=_LATEST)

    def ended(self, job: Job, together: int) -> None:
        """Learn from ``job``, which succeeded while ``together`` jobs ran, itself included."""
        if job.started is not None and job.finished is not None:
            loading = job.timings.get("load", 0.0)
            self._ended.append((job.work, max(0.0, job.finished - job.started - loading), together))

    def seconds(self, job: Job) -> float | None:
        """Return how many seconds ``job`` will run, None if nothing is known yet."""
        work = sum(each[0] for each in self._ended)
        return job.work * sum(each[1] for each in self._ended) / work if work else None

    def between(self) -> float | None:
        """Return the seconds from one job's end to the next one's while there is work, None if nothing is known yet."""
        together = sum(each[2] for each in self._ended)
        return sum(each[1] for each in self._ended) / together if together else None
