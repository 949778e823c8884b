"""Events: what can happen to a job, and how events are numbered. Knows no readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from server.job import Job, Picture, Stage

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["queued", "started", "progress", "preview", "output", "finished"]

SPAN = 10**9
"""The range of numbers for one attempt's events: a later attempt's numbers are higher, also after a restart."""
_QUEUED = SPAN - 10**6
_FINISHED = SPAN - 1


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to a job."""

    number: int
    """A number that grows with each event of a job, also over restarts (``Last-Event-ID``)."""
    kind: Kind
    job: Job
    """The job as it was at that moment."""
    request: int = 0
    """The number of the job's task that this is about."""
    stage: Stage | None = None
    step: int = 0
    """The steps that are done of the sampling at hand."""
    steps: int | None = None
    """Its steps in all; None if not known."""
    node: str | None = None
    """The id of the workflow's node that is being carried out, where it has one."""
    cached: tuple[str, ...] = ()
    """The ids of nodes that had nothing to do, as far as is known by now."""
    progress: float = 0.0
    """The fraction of the whole job that is done, 0 … 1."""
    preview: Image | None = None
    """A rough picture an eighth of the size."""
    pictures: tuple[Picture, ...] = ()
    """The pictures of one output node that were made and written (``output``)."""


def queued_event(job: Job) -> Event:
    """Return the event that ``job`` was accepted or queued again."""
    return Event(number=job.attempt * SPAN + _QUEUED, kind="queued", job=job)


def nothing_follows(job: Job, after: int) -> bool:
    """Whether a job has ended, and event ``after`` was its end."""
    return job.done and after >= finished_event(job).number


def finished_event(job: Job) -> Event:
    """Return the last event of a job that is done."""
    share = 1.0 if job.state == "succeeded" else 0.0
    return Event(number=job.attempt * SPAN + _FINISHED, kind="finished", job=job, progress=share)
