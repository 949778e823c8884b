"""What the callers saw against what the server has in the end: every accepted job done, each once, nothing beside.

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

from benchmarks.load_plan import QUEUED
from benchmarks.load_visits import Visit

_PAGE = 500
_PAUSE = 0.1
_NOT_THERE = "not there"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job as the server tells it."""

    id: str
    seed: int
    state: str
    attempt: int
    pictures: tuple[str, ...]
    """Their file names."""
    created: float
    finished: float | None
    error: str | None


async def settled(http: httpx.AsyncClient, patience: float) -> bool:
    """Wait until nothing is queued or running; False where ``patience`` seconds do not suffice."""
    for _ in range(max(1, int(patience / _PAUSE))):
        counts = (await http.get("/api/v1/jobs", params={"limit": 1})).raise_for_status().json()["counts"]
        if not counts.get("queued", 0) + counts.get("running", 0):
            return True
        await asyncio.sleep(_PAUSE)
    return False


async def read_rows(http: httpx.AsyncClient) -> list[Row]:
    """All jobs that the server has, in the order of acceptance."""
    rows = list[Row]()
    while True:
        asked = {"limit": _PAGE, "offset": len(rows), "order": "oldest"}
        page = (await http.get("/api/v1/jobs", params=asked)).raise_for_status().json()["jobs"]
        rows += [_row(each) for each in page]
        if len(page) < _PAGE:
            return rows


def audit(visits: Iterable[Visit], rows: Sequence[Row]) -> list[str]:
    """What is wrong, job by job; nothing where all is well."""
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
    """The folder of the pictures holds those of the jobs, and nothing else."""
    expected = {name for row in rows for name in row.pictures}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    missing, strange = expected - there, there - expected
    wrong = [f"{len(missing)} pictures are missing, such as {min(missing)}"] if missing else []
    return wrong + ([f"{len(strange)} files belong to no job, such as {min(strange)}"] if strange else [])


def _allowed(visit: Visit) -> set[str]:
    """The ends that a job may have come to, after what its caller saw."""
    if visit.end == "succeeded" or visit.end == "cancelled":
        return {visit.end}
    if visit.end == "refused":
        return {_NOT_THERE}
    call, ends = visit.call, {"succeeded"}
    if call.manner == "cancel" or (call.key is None and call.dialect not in QUEUED):
        ends.add("cancelled")  # whoever hangs up, and be it for lack of patience, cancels what waits for him
    return ends if visit.accepted else ends | {_NOT_THERE}


def _flaws(visit: Visit, row: Row) -> list[str]:
    """What is wrong with a job that came to an allowed end."""
    expected = visit.call.pictures if row.state == "succeeded" else 0
    flaws = []
    if len(row.pictures) != expected:
        flaws.append(f"{row.state} with {len(row.pictures)} pictures; expected {expected}")
    if row.attempt > 1:
        flaws.append(f"begun {row.attempt} times")
    return flaws


def _row(told: Mapping[str, Any]) -> Row:
    return Row(
        id=told["id"],
        seed=int(told["seed"]),
        state=told["state"],
        attempt=told["attempt"],
        pictures=tuple(image["url"].rpartition("/")[2] for image in told["images"]),
        created=told["created"],
        finished=told["finished"],
        error=None if told["error"] is None else f"{told['error']['kind']}: {told['error']['detail']}",
    )
