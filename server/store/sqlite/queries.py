"""What is asked of the tables, and what changes no job's state. Each function runs within somebody's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, cast

from server.job import FINISHED, Job, State
from server.store import Found, Search
from server.store.sqlite.rows import job_of

_MOST_NAMES = 500
"""Tokens in one statement."""

_WORKFLOW = "CASE WHEN json_valid(extra) THEN json_extract(extra, '$.extra_data.extra_pnginfo.workflow.id') END"
"""As the index ``workflows`` has it."""


def get(database: sqlite3.Connection, id: str) -> Job | None:
    row = database.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else job_of(row)


def find(
    database: sqlite3.Connection,
    *,
    states: Collection[State] | None = None,
    dialects: Collection[str] | None = None,
    ids: Sequence[str] | None = None,
    limit: int = -1,
    offset: int = 0,
    newest_first: bool = False,
) -> list[Job]:
    where, values = _where(state=states, dialect=dialects, id=ids)
    order = "DESC" if newest_first else "ASC"
    found = database.execute(
        f"SELECT * FROM jobs WHERE {where} ORDER BY sequence {order} LIMIT ? OFFSET ?", (*values, limit, offset)
    )
    return [job_of(row) for row in found]


def count(
    database: sqlite3.Connection, states: Collection[State] | None, dialects: Collection[str] | None
) -> dict[State, int]:
    where, values = _where(state=states, dialect=dialects)
    rows = database.execute(f"SELECT state, COUNT(*) FROM jobs WHERE {where} GROUP BY state", values)
    counted = {cast(State, state): int(number) for state, number in rows}
    every: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
    return {state: counted.get(state, 0) for state in every if states is None or state in states}


def search(database: sqlite3.Connection, search: Search) -> Found:
    where, values = _where(state=search.states, dialect=search.dialects, id=search.ids)
    if search.client is not None:
        where += " AND client = ?"
        values.append(search.client)
    if search.workflow is not None:
        where += f" AND {_WORKFLOW} = ?"
        values.append(search.workflow)
    if search.begun:
        where += " AND started IS NOT NULL"
    direction = "DESC" if search.newest_first else "ASC"
    order = f"sequence {direction}"
    if search.by_duration:
        order = f"COALESCE(finished - started, 0) {direction}, {order}"
    (total,) = database.execute(f"SELECT COUNT(*) FROM jobs WHERE {where}", values).fetchone()
    rows = database.execute(
        f"SELECT id FROM jobs WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?", (*values, search.limit, search.offset)
    )
    return Found(ids=[id for (id,) in rows], total=total)


def read(
    database: sqlite3.Connection, ids: Sequence[str], most_bytes: int | None, leave_out: Sequence[str]
) -> list[Job]:
    """One row after the other, so that no more is held than is asked for."""
    paths = [f'$."{name}"' for name in leave_out]
    statement = f"SELECT *, json_remove(extra{', ?' * len(paths)}) AS some FROM jobs WHERE id = ?"
    jobs: list[Job] = []
    taken = 0
    for id in ids:
        row = database.execute(statement, (*paths, id)).fetchone()
        if row is None:
            continue
        taken += len(row["some"])
        if jobs and most_bytes is not None and taken > most_bytes:
            break
        jobs.append(job_of(row, extra="some"))
    return jobs


def aheads(database: sqlite3.Connection, ids: Collection[str]) -> dict[str, int]:
    """In the order of ``claim``: a job begins its client's turn when the work before it is done."""
    rows = database.execute(
        """
        SELECT id, ahead FROM (
            SELECT id, ROW_NUMBER() OVER (ORDER BY priority DESC, start, sequence) - 1 AS ahead FROM (
                SELECT id, priority, sequence,
                    MAX(COALESCE(turn, 0), COALESCE((SELECT MAX(began) FROM turns), 0)) + COALESCE(SUM(work) OVER (
                        PARTITION BY client ORDER BY priority DESC, sequence
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ), 0) AS start
                FROM jobs INDEXED BY queue LEFT JOIN turns USING (client) WHERE state = 'queued'
            )
        ) WHERE id IN (SELECT value FROM json_each(?))
        """,
        (json.dumps(list(ids)),),
    )
    return {id: int(ahead) for id, ahead in rows}


def kept_pictures(database: sqlite3.Connection, tokens: Collection[str]) -> dict[str, frozenset[str]]:
    kept: dict[str, frozenset[str]] = {}
    named = list(tokens)
    for start in range(0, len(named), _MOST_NAMES):
        rows = database.execute(
            "SELECT token, pictures FROM jobs WHERE token IN (SELECT value FROM json_each(?))",
            (json.dumps(named[start : start + _MOST_NAMES]),),
        )
        kept |= {row["token"]: frozenset(each["name"] for each in json.loads(row["pictures"])) for row in rows}
    return kept


def expired(database: sqlite3.Connection, before: float | None, keep: int | None, limit: int) -> list[Job]:
    found: dict[str, Job] = {}
    if before is not None:
        rows = database.execute(
            "SELECT * FROM jobs WHERE finished < ? ORDER BY finished LIMIT ?", (before, limit)
        ).fetchall()
        found |= {row["id"]: job_of(row) for row in rows}
    if keep is not None:
        (number,) = database.execute("SELECT COUNT(*) FROM jobs WHERE finished IS NOT NULL").fetchone()
        rows = database.execute(
            "SELECT * FROM jobs WHERE finished IS NOT NULL ORDER BY finished, sequence LIMIT ?",
            (max(0, min(limit, number - keep)),),
        ).fetchall()
        found |= {row["id"]: job_of(row) for row in rows}
    return list(found.values())[:limit]


def delete(database: sqlite3.Connection, ids: Collection[str]) -> int:
    where, values = _where(state=FINISHED)
    deleted = database.execute(
        f"DELETE FROM jobs WHERE {where} AND id IN (SELECT value FROM json_each(?))", (*values, json.dumps(list(ids)))
    ).rowcount
    database.execute("DELETE FROM turns WHERE client NOT IN (SELECT client FROM jobs)")
    return deleted


def _where(**among: Collection[str] | None) -> tuple[str, list[Any]]:
    """A condition on columns: each one among some values, where any are given."""
    terms, values = ["TRUE"], list[Any]()
    for column, allowed in among.items():
        if allowed is not None:
            terms.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(allowed)))
    return " AND ".join(terms), values
