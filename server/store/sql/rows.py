"""Translates a job to its row and back. This module knows the JSON in the columns; it runs no SQL."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

from engine.parameters import Seed
from server.job import Failure, Job, Picture, Webhook
from server.store import Made, Message
from server.store.sql.database import Row
from server.task import Task

_SEED = Seed(optional=False)


def columns_of(job: Job, fingerprint: str) -> dict[str, Any]:
    """Return the values of all columns but ``sequence``, which the database gives."""
    return {
        "id": job.id,
        "state": job.state,
        "client": job.client,
        "dialect": job.dialect,
        "model": job.model,
        "pictures_asked": job.pictures_asked,
        "work": job.work,
        "priority": job.priority,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "attempt": job.attempt,
        "excused": job.excused,
        "cancel_requested": int(job.cancel_requested),
        "interrupted": int(job.interrupted),
        "token": job.token,
        "idempotency_key": job.idempotency_key,
        "fingerprint": fingerprint,
        "label": job.label,
        "tasks": as_json([task.to_json() for task in job.tasks]),
        "webhook": None if job.webhook is None else as_json(dataclasses.asdict(job.webhook)),
        "extra": as_json(job.extra),
        "failure": failure_json(job.failure),
        **made_columns(job),
    }


def job_of(row: Row, *, extra: str = "extra") -> Job:
    """Return the job in a row. Its ``extra`` is taken from the column that ``extra`` names."""
    webhook = row["webhook"]
    failure = row["failure"]
    return Job(
        id=row["id"],
        sequence=row["sequence"],
        state=row["state"],
        tasks=_tasks_of(row["tasks"]),
        dialect=row["dialect"],
        client=row["client"],
        priority=row["priority"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        attempt=row["attempt"],
        excused=row["excused"],
        cancel_requested=bool(row["cancel_requested"]),
        interrupted=bool(row["interrupted"]),
        pictures=tuple(_picture_of(each) for each in json.loads(row["pictures"])),
        failure=None if failure is None else Failure(**json.loads(failure)),
        timings=json.loads(row["timings"]),
        record=json.loads(row["record"]),
        idempotency_key=row["idempotency_key"],
        label=row["label"],
        webhook=None if webhook is None else _webhook_of(json.loads(webhook)),
        extra=json.loads(row[extra]),
        token=row["token"],
    )


@functools.lru_cache(maxsize=64)
def _tasks_of(column: str) -> tuple[Task, ...]:
    """The tasks in a column: values, which a job that is read once more has from before, with their workflows."""
    return tuple(Task.from_json(each) for each in json.loads(column))


def _picture_of(kept: dict[str, Any]) -> Picture:
    return Picture(**kept | {"seed": _SEED.read("seed", kept["seed"])})


def message_of(row: Row) -> Message:
    """Return the webhook's message in a row of the outbox."""
    return Message(**{field.name: row[field.name] for field in dataclasses.fields(Message)})


def made_columns(made: Made | Job) -> dict[str, str]:
    """Return the values of the columns of what was made."""
    pictures = [vars(picture) | {"seed": _SEED.to_json(picture.seed)} for picture in made.pictures]
    return {"pictures": as_json(pictures), "timings": as_json(made.timings), "record": as_json(made.record)}


def failure_json(failure: Failure | None) -> str | None:
    """Return the column ``failure``."""
    return None if failure is None else as_json(vars(failure))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode
"""Writes what a column holds."""


def _webhook_of(kept: dict[str, Any]) -> Webhook:
    return Webhook(**kept | {"events": tuple(kept["events"])})
