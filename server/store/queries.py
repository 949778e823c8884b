"""What is asked of the tables, and what changes no job's state. Each function runs within somebody's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, cast

from server.job import FINISHED, Job, State
from server.store import Message
from server.store.rows import job_of, message_of

_MOST_NAMES = 500
"""Values in one statement; SQLite allows some 32,000."""


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
    where, values = _where(state=states, dialect=dialects)
    if ids is not None:
        where += " AND id IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(ids)))
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


def any_queued(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetchone() is not None


def ahead(database: sqlite3.Connection, job: Job) -> int:
    """Those of higher priority, the client's own earlier ones, and as many of each other client in its turn."""
    (higher,) = database.execute(
        "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND priority > ?", (job.priority,)
    ).fetchone()
    (own,) = database.execute(
        "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND priority = ? AND client = ? AND sequence < ?",
        (job.priority, job.client, job.sequence),
    ).fetchone()
    others = database.execute(
        """
        SELECT COUNT(*), MIN(sequence), COALESCE((SELECT turn FROM turns WHERE turns.client = jobs.client), 0)
        FROM jobs WHERE state = 'queued' AND priority = ? AND client != ? GROUP BY client
        """,
        (job.priority, job.client),
    ).fetchall()
    mine = database.execute("SELECT turn FROM turns WHERE client = ?", (job.client,)).fetchone()
    turn = (mine[0] if mine else 0, job.sequence)
    return int(higher + own + sum(min(number, own + ((last, first) < turn)) for number, first, last in others))


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


def post(database: sqlite3.Connection, messages: Sequence[Message]) -> None:
    database.executemany(
        "INSERT INTO outbox (id, job, moment, url, body, created, due, attempts)"
        " VALUES (:id, :job, :moment, :url, :body, :created, :due, :attempts)",
        [vars(message) for message in messages],
    )


def due(database: sqlite3.Connection, now: float, limit: int) -> list[Message]:
    rows = database.execute("SELECT * FROM outbox WHERE due <= ? ORDER BY due LIMIT ?", (now, limit))
    return [message_of(row) for row in rows]


def next_due(database: sqlite3.Connection) -> float | None:
    (when,) = database.execute("SELECT MIN(due) FROM outbox").fetchone()
    return None if when is None else float(when)


def delivered(database: sqlite3.Connection, id: str) -> None:
    database.execute("DELETE FROM outbox WHERE id = ?", (id,))


def postpone(database: sqlite3.Connection, id: str, due: float) -> None:
    database.execute("UPDATE outbox SET due = ?, attempts = attempts + 1 WHERE id = ?", (due, id))


def _where(**among: Collection[str] | None) -> tuple[str, list[Any]]:
    """A condition on columns: each one among some values, where any are given."""
    terms, values = ["TRUE"], list[Any]()
    for column, allowed in among.items():
        if allowed is not None:
            terms.append(f"{column} IN ({','.join('?' * len(allowed))})")
            values.extend(allowed)
    return " AND ".join(terms), values
