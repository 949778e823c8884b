"""Checks what the server has in the end against what the callers saw: every accepted job is done, once, and no other.

Knows how the native API lists jobs; knows no schedule.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load.calls import QUEUED
from benchmarks.load.visits import Visit

_PAGE = 500
_PAUSE = 0.1
_NOT_THERE = "not there"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job as the server's native API lists it."""

    id: str
    seed: int
    state: str
    attempt: int
    pictures: tuple[str, ...]
    """File names."""
    created: float
    """Seconds since the epoch, as is ``finished``."""
    finished: float | None
    error: str | None
    interrupted: bool = False
    """Whether it was asked to end with the pictures that were done."""


async def settled(http: httpx.AsyncClient, patience: float) -> bool:
    """Wait until nothing is queued or running. Returns False if that takes longer than ``patience`` seconds."""
    for _ in range(max(1, int(patience / _PAUSE))):
        counts = (await http.get("/api/v1/jobs", params={"limit": 1})).raise_for_status().json()["counts"]
        if not counts.get("queued", 0) + counts.get("running", 0):
            return True
        await asyncio.sleep(_PAUSE)
    return False


async def read_rows(http: httpx.AsyncClient) -> list[Row]:
    """Read all jobs that the server has, in the order of acceptance."""
    rows = list[Row]()
    while True:
        wanted: dict[str, str | int] = {"limit": _PAGE, "offset": len(rows), "order": "oldest"}
        page = (await http.get("/api/v1/jobs", params=wanted)).raise_for_status().json()["jobs"]
        rows += [_row(each) for each in page]
        if len(page) < _PAGE:
            return rows


def audit(visits: Iterable[Visit], rows: Sequence[Row]) -> list[str]:
    """Say what is wrong, one sentence for each job; an empty list means that all is well."""
    by_seed = defaultdict[int, list[Row]](list)
    for row in rows:
        by_seed[row.seed].append(row)
    wrong = list[str]()
    for visit in visits:
        seed = visit.call.request.seed
        assert seed is not None
        found, who = by_seed[seed], f"call {visit.call.number} ({visit.call.dialect}, {visit.call.manner}, {visit.end})"
        if len(found) > 1:
            wrong.append(f"{who}: accepted {len(found)} times")
            continue
        state, allowed = found[0].state if found else _NOT_THERE, _allowed(visit)
        if state not in allowed:
            why = f", {found[0].error}" if found and found[0].error else ""
            wrong.append(f"{who}: the job is {state}{why}; expected {' or '.join(sorted(allowed))}")
        elif found:
            wrong += [f"{who}: {flaw}" for flaw in _flaws(visit, found[0])]
    return wrong


def audit_files(folder: Path, rows: Iterable[Row]) -> list[str]:
    """Say what is wrong with the folder of pictures, which must hold those of the jobs and nothing else."""
    expected = {name for row in rows for name in row.pictures}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    missing, strange = expected - there, there - expected
    wrong = [f"{len(missing)} pictures are missing, for example {min(missing)}"] if missing else []
    return wrong + ([f"{len(strange)} files belong to no job, for example {min(strange)}"] if strange else [])


def _allowed(visit: Visit) -> set[str]:
    """Return the states in which a job may be, given what its caller saw."""
    call, ends = visit.call, {"succeeded"}
    if visit.end == "cancelled" and call.dialect == "sdapi":
        return {"cancelled", "succeeded"}  # with the pictures that were done
    if visit.end == "succeeded" or visit.end == "cancelled":
        return {visit.end}
    if visit.end == "refused":
        return {_NOT_THERE}
    if call.manner == "cancel" or (call.key is None and call.dialect not in QUEUED):
        ends.add("cancelled")  # a caller who hangs up, or loses patience, cancels a job that waits for them
    return ends if visit.accepted else ends | {_NOT_THERE}


def _flaws(visit: Visit, row: Row) -> list[str]:
    """Say what is wrong with a job whose state is allowed."""
    expected = visit.call.made if row.state == "succeeded" else 0
    flaws = []
    part = row.interrupted and visit.end != "succeeded" and 0 < len(row.pictures) < expected
    whole = len(row.pictures) == expected and not (visit.end == "cancelled" and row.state == "succeeded")
    if not (part or whole):
        flaws.append(f"{row.state} with {len(row.pictures)} pictures; expected {expected}")
    if row.attempt > 1:
        flaws.append(f"attempted {row.attempt} times")
    return flaws


def _row(listed: Mapping[str, Any]) -> Row:
    return Row(
        id=listed["id"],
        seed=int(listed["seed"]),
        state=listed["state"],
        attempt=listed["attempt"],
        pictures=tuple(image["url"].rpartition("/")[2] for image in listed["images"]),
        created=listed["created"],
        finished=listed["finished"],
        error=None if listed["error"] is None else f"{listed['error']['kind']}: {listed['error']['detail']}",
        interrupted=listed.get("interrupted", False),  # servers of earlier versions have no such jobs
    )
