"""A job ⇄ its row. Knows the columns' JSON; runs no SQL."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from engine import GenerationRequest
from server.job import Failure, Job, Picture, Webhook, parameters
from server.queue.estimate import work_of
from server.store import Message


def columns_of(job: Job, fingerprint: str) -> dict[str, Any]:
    """All columns but ``sequence``."""
    return {
        "id": job.id,
        "state": job.state,
        "client": job.client,
        "dialect": job.dialect,
        "model": job.model,
        "pictures_asked": job.pictures_asked,
        "work": work_of(job),
        "priority": job.priority,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "attempt": job.attempt,
        "excused": job.excused,
        "cancel_requested": job.cancel_requested,
        "token": job.token,
        "idempotency_key": job.idempotency_key,
        "fingerprint": fingerprint,
        "label": job.label,
        "requests": _json([_seed_as_text(parameters(request)) for request in job.requests]),
        "webhook": None if job.webhook is None else _json(dataclasses.asdict(job.webhook)),
        "extra": _json(job.extra),
        "pictures": pictures_json(job.pictures),
        "failure": failure_json(job.failure),
        "timings": _json(job.timings),
        "record": _json(job.record),
    }


def job_of(row: sqlite3.Row, *, extra: str = "extra") -> Job:
    """``extra``: the column that it is taken from."""
    webhook = row["webhook"]
    failure = row["failure"]
    return Job(
        id=row["id"],
        sequence=row["sequence"],
        state=row["state"],
        requests=tuple(_request_of(_seed_as_number(each)) for each in json.loads(row["requests"])),
        dialect=row["dialect"],
        client=row["client"],
        priority=row["priority"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        attempt=row["attempt"],
        excused=row["excused"],
        cancel_requested=bool(row["cancel_requested"]),
        pictures=tuple(Picture(**_seed_as_number(each)) for each in json.loads(row["pictures"])),
        failure=None if failure is None else Failure(**json.loads(failure)),
        timings=json.loads(row["timings"]),
        record=json.loads(row["record"]),
        idempotency_key=row["idempotency_key"],
        label=row["label"],
        webhook=None if webhook is None else _webhook_of(json.loads(webhook)),
        extra=json.loads(row[extra]),
        token=row["token"],
    )


def _request_of(fields: dict[str, Any]) -> GenerationRequest:
    """Not checked again: what an older version accepted can be looked at, and fails when it is begun."""
    request = object.__new__(GenerationRequest)
    for field in dataclasses.fields(GenerationRequest):
        object.__setattr__(request, field.name, fields.get(field.name, field.default))
    return request


def message_of(row: sqlite3.Row) -> Message:
    return Message(**{field.name: row[field.name] for field in dataclasses.fields(Message)})


def pictures_json(pictures: tuple[Picture, ...]) -> str:
    return _json([_seed_as_text(vars(picture)) for picture in pictures])


def failure_json(failure: Failure | None) -> str | None:
    return None if failure is None else _json(vars(failure))


def json_of(values: Mapping[str, Any]) -> str:
    return _json(values)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _webhook_of(kept: dict[str, Any]) -> Webhook:
    return Webhook(**kept | {"events": tuple(kept["events"])})


def _seed_as_text(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "seed": str(fields["seed"])}


def _seed_as_number(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"seed": int(fields["seed"])}
