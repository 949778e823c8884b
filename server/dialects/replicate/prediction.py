"""A job in the form of Replicate's prediction. Knows no routes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, Field

from server.dialects.replicate.input import OWNER
from server.job import Job, State
from server.queue.events import Event

Status = Literal["starting", "processing", "succeeded", "failed", "canceled"]

_STATUSES: dict[State, Status] = {
    "queued": "starting",
    "running": "processing",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "canceled",
}
_BAR = 20
"""The width of a progress bar in characters."""


class PredictionAnswer(BaseModel):
    id: str
    model: str
    version: str
    status: Status
    input: dict[str, Any] = Field(description="as the caller sent it")
    output: list[str] | None = Field(description="the URLs of the finished pictures; they need no key")
    error: str | None
    logs: str = Field(description="the seed, then a line for each percent of progress")
    metrics: dict[str, float] = Field(description="seconds: predict_time, total_time")
    created_at: str
    started_at: str | None
    completed_at: str | None
    urls: dict[str, str] = Field(description="get, cancel, stream")
    source: Literal["api"]
    data_removed: Literal[False]


def prediction(job: Job, latest: Event | None = None) -> dict[str, Any]:
    """Write a ``PredictionAnswer``. ``latest``: the latest event of a job that runs."""
    url = f"{job.extra['base_url']}/v1/predictions/{job.id}"
    return {
        "id": job.id,
        "model": f"{OWNER}/{job.model}",
        "version": job.model,
        "status": _STATUSES[job.state],
        "input": job.extra["input"],
        "output": output(job) if job.pictures else None,
        "error": job.failure.message if job.failure else None,
        "logs": logs(job, latest),
        "metrics": _metrics(job),
        "created_at": _moment(job.created),
        "started_at": _moment(job.started),
        "completed_at": _moment(job.finished),
        "urls": {"get": url, "cancel": f"{url}/cancel", "stream": f"{url}/stream"},
        "source": "api",
        "data_removed": False,
    }


def webhook_body(job: Job, moment: str) -> dict[str, Any]:
    """Write the body of a webhook: the prediction at that moment. Its logs have no progress before the pictures
    are there, because the job's row has none."""
    return prediction(job)


def output(job: Job) -> list[str]:
    """List the URLs of the job's pictures, in the format that the caller chose."""
    names = [picture.name.removesuffix(".png") for picture in job.pictures]
    return [f"{job.extra['base_url']}/api/v1/images/{name}{job.extra['ending']}" for name in names]


def logs(job: Job, latest: Event | None) -> str:
    """Write the seed, then a line for each percent of progress, as tqdm writes them and Replicate's clients read them.

    The logs only grow while a job runs and when it succeeds, so that a client that prints what has been added prints
    each line once.
    """
    steps = sum(task.steps for task in job.tasks)
    done = 0
    if job.state == "succeeded" or len({picture.request for picture in job.pictures}) == len(job.tasks):
        done = steps
    elif latest is not None and not job.done:
        done = min(round(_share(job, latest) * steps), steps)
    lines = [f"Using seed: {job.request.seed}"]
    lines += [_bar(step, steps) for step in range(1, done + 1) if step * 100 // steps > (step - 1) * 100 // steps]
    return "\n".join(lines) + "\n"


def _share(job: Job, latest: Event) -> float:
    """Return the share of all steps that is done. Some schedules have more or fewer steps than the request says."""
    if len(job.tasks) > 1:
        return latest.progress
    return latest.step / latest.steps if latest.steps else 0.0


def _bar(step: int, steps: int) -> str:
    percent = step * 100 // steps
    full = percent * _BAR // 100
    return f"{percent:3}%|{'█' * full}{' ' * (_BAR - full)}| {step}/{steps}"


def _metrics(job: Job) -> dict[str, float]:
    if job.finished is None or job.started is None:
        return {}
    return {"predict_time": job.finished - job.started, "total_time": job.finished - job.created}


def _moment(time: float | None) -> str | None:
    if time is None:
        return None
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
