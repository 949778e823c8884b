"""The tables of handed-in pictures. Each function runs within a caller's transaction."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection

from server.inputs.input import CALL, Hold, Input
from server.job import Job
from server.store import InputGone, QuotaExceeded
from server.store.sql.database import Database, Row

_UNUSED = "id NOT IN (SELECT input FROM job_inputs) AND id NOT IN (SELECT input FROM holds)"


def identity(database: Database) -> str:
    return str(database.execute("SELECT id FROM identity").fetchone()["id"])


def keep(database: Database, new: Input, client: str, quota: int | None) -> Input:
    there = find(database, [new.id]).get(new.id)
    if there is None:
        bytes_of = "SELECT COALESCE(SUM(bytes), 0) AS used FROM inputs WHERE client = ?"
        if quota is not None and database.execute(bytes_of, (client,)).fetchone()["used"] + new.bytes > quota:
            raise QuotaExceeded
        kept = new.to_json()
        database.execute(
            "INSERT INTO inputs (id, file, bytes, size, client) VALUES (?, ?, ?, ?, ?)",
            (new.id, new.file, new.bytes, json.dumps(kept["size"]), client),
        )
    if new.hold is not None:
        _put(database, new.id, new.hold)
    return new if there is None else dataclasses.replace(there, hold=new.hold)


def hold(database: Database, id: str, hold: Hold) -> Input:
    there = find(database, [id]).get(id)
    if there is None:
        raise InputGone
    _put(database, id, hold)
    return dataclasses.replace(there, hold=hold)


def find(database: Database, ids: Collection[str]) -> dict[str, Input]:
    wanted = database.language.list_of(ids)
    rows = database.execute(f"SELECT * FROM inputs WHERE id IN ({_listed(database)})", (wanted,))
    return {row["id"]: _input_of(row) for row in rows}


def held(database: Database, owner: str) -> dict[str, Input]:
    rows = database.execute(
        "SELECT name, inputs.* FROM holds JOIN inputs ON inputs.id = holds.input WHERE owner = ? ORDER BY name",
        (owner,),
    )
    return {row["name"]: _input_of(row) for row in rows}


def release(database: Database, owner: str, name: str) -> bool:
    return database.execute("DELETE FROM holds WHERE owner = ? AND name = ?", (owner, name)).rowcount > 0


def take_unused(database: Database, calls_before: float, uploads_before: float | None, limit: int) -> list[Input]:
    database.execute("DELETE FROM holds WHERE owner = ? AND since < ?", (CALL, calls_before))
    if uploads_before is not None:
        database.execute("DELETE FROM holds WHERE owner <> ? AND since < ?", (CALL, uploads_before))
    rows = database.execute(f"SELECT * FROM inputs WHERE {_UNUSED} ORDER BY id LIMIT ?", (limit,)).fetchall()
    ids = database.language.list_of([row["id"] for row in rows])
    database.execute(f"DELETE FROM inputs WHERE id IN ({_listed(database)})", (ids,))
    return [_input_of(row) for row in rows]


def pin(database: Database, sequence: int, job: Job) -> None:
    """Let a job that was added have its inputs, in place of the holds of its call. Raises ``InputGone``."""
    inputs = {each.id: each for task in job.tasks for each in task.inputs.values()}
    if inputs:
        if len(find(database, list(inputs))) < len(inputs):
            raise InputGone
        database.executemany("INSERT INTO job_inputs (job, input) VALUES (?, ?)", [(sequence, id) for id in inputs])
        calls = [hold for each in inputs.values() if (hold := each.hold) is not None and hold.owner == CALL]
        database.executemany(
            "DELETE FROM holds WHERE owner = ? AND name = ?", [(hold.owner, hold.name) for hold in calls]
        )


def unpin(database: Database, ids: Collection[str]) -> None:
    """Take the inputs from finished jobs that are about to be deleted."""
    database.execute(
        f"""
        DELETE FROM job_inputs WHERE job IN (
            SELECT sequence FROM jobs WHERE finished IS NOT NULL AND id IN ({_listed(database)})
        )
        """,
        (database.language.list_of(ids),),
    )


def _put(database: Database, id: str, hold: Hold) -> None:
    database.execute(
        "INSERT INTO holds (owner, name, input, since) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (owner, name) DO UPDATE SET input = excluded.input, since = excluded.since",
        (hold.owner, hold.name, id, hold.since),
    )


def _input_of(row: Row) -> Input:
    return Input.from_json({**{name: row[name] for name in ("id", "file", "bytes")}, "size": json.loads(row["size"])})


def _listed(database: Database) -> str:
    return database.language.listed.format("?")
