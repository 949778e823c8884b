"""Questions to the tables, and changes that touch no job's state. Each function runs within a caller's transaction."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from server.job import FINISHED, Job, State
from server.store import Found, Search
from server.store.rules import STATES
from server.store.sql.database import Database
from server.store.sql.inputs import unpin
from server.store.sql.rows import as_json, job_of

_ALL = 2**62
"""A limit that no page reaches."""

_MOST_NAMES = 500
"""The number of tokens in one statement."""


def get(database: Database, id: str) -> Job | None:
    row = database.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else job_of(row)


def number_queued(database: Database) -> int:
    """Return the number of jobs that wait."""
    return int(database.execute("SELECT COUNT(*) AS number FROM jobs WHERE state = 'queued'").fetchone()["number"])


def in_state(database: Database, state: State) -> list[Job]:
    """Return all jobs in one state, in the order of acceptance."""
    return [job_of(row) for row in database.execute("SELECT * FROM jobs WHERE state = ? ORDER BY sequence", (state,))]


def find(database: Database, search: Search) -> Found:
    where, values = _where(database, state=search.states, dialect=search.dialects, id=search.ids)
    for column, value in (("client", search.client), ("label", search.label)):
        if value is not None:
            where += f" AND {column} = ?"
            values.append(value)
    for condition, time in (("created >= ?", search.created_from), ("created < ?", search.created_before)):
        if time is not None:
            where += f" AND {condition}"
            values.append(time)
    for word in search.words:
        where += f" AND {database.language.has_text}"
        values.append("%" + re.sub(r"([\\%_])", r"\\\1", word) + "%")
    if search.started:
        where += " AND started IS NOT NULL"
    ids = _page(database, where, values, search) if search.limit != 0 else []
    jobs = _read(database, ids, search.most_bytes, search.leave_out) if search.most_bytes != 0 else []
    return Found(jobs=jobs, ids=ids, counts=_counts(database, where, values, search.states))


def _page(database: Database, where: str, values: Sequence[Any], search: Search) -> list[str]:
    direction = "DESC" if search.newest_first else "ASC"
    order = f"sequence {direction}"
    if search.by_duration:
        order = f"COALESCE(finished - started, 0) {direction}, {order}"
    limit = _ALL if search.limit is None else search.limit
    rows = database.execute(
        f"SELECT id FROM jobs WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?", (*values, limit, search.offset)
    )
    return [row["id"] for row in rows]


def _counts(
    database: Database, where: str, values: Sequence[Any], states: Collection[State] | None
) -> dict[State, int]:
    rows = database.execute(f"SELECT state, COUNT(*) AS number FROM jobs WHERE {where} GROUP BY state", values)
    counted = {row["state"]: int(row["number"]) for row in rows}
    return {state: counted.get(state, 0) for state in STATES if states is None or state in states}


def _read(database: Database, ids: Sequence[str], most_bytes: int | None, leave_out: Collection[str]) -> list[Job]:
    """Read one row after the other, so that no more is held than was asked for."""
    some, values = database.language.without("extra", leave_out) if leave_out else ("extra", [])
    statement = f"SELECT *, {some} AS some FROM jobs WHERE id = ?"
    jobs: list[Job] = []
    read = 0
    for id in ids:
        row = database.execute(statement, (*values, id)).fetchone()
        job, size = job_of(row, extra="some"), len(row["some"])
        if any(key in job.extra for key in leave_out):
            job = dataclasses.replace(job, extra={key: job.extra[key] for key in job.extra if key not in leave_out})
            size = len(as_json(job.extra))
        read += size
        if jobs and most_bytes is not None and read > most_bytes:
            break
        jobs.append(job)
    return jobs


def jobs_ahead(database: Database, ids: Collection[str]) -> dict[str, int]:
    """Order the queue as ``claim`` does: a job's turn starts when its client's work before it is done."""
    language = database.language
    rows = database.execute(
        f"""
        SELECT id, ahead FROM (
            SELECT id, ROW_NUMBER() OVER (ORDER BY priority DESC, start, sequence) - 1 AS ahead FROM (
                SELECT id, priority, sequence,
                    {language.greatest}(COALESCE(turn, 0), COALESCE((SELECT MAX(began) FROM turns), 0))
                    + COALESCE(SUM(work) OVER (
                        PARTITION BY client ORDER BY priority DESC, sequence
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ), 0) AS start
                FROM jobs{language.by_queue} LEFT JOIN turns USING (client) WHERE state = 'queued'
            ) AS started
        ) AS numbered WHERE id IN ({language.listed.format("?")})
        """,
        (language.list_of(ids),),
    )
    return {row["id"]: int(row["ahead"]) for row in rows}


def kept_pictures(database: Database, tokens: Collection[str]) -> dict[str, frozenset[str]]:
    kept: dict[str, frozenset[str]] = {}
    named = list(tokens)
    for start in range(0, len(named), _MOST_NAMES):
        rows = database.execute(
            f"SELECT token, pictures FROM jobs WHERE token IN ({database.language.listed.format('?')})",
            (database.language.list_of(named[start : start + _MOST_NAMES]),),
        )
        kept |= {row["token"]: frozenset(each["name"] for each in json.loads(row["pictures"])) for row in rows}
    return kept


def expired(database: Database, before: float | None, keep: int | None, limit: int) -> list[Job]:
    found: dict[str, Job] = {}
    if before is not None:
        rows = database.execute(
            "SELECT * FROM jobs WHERE finished < ? ORDER BY finished LIMIT ?", (before, limit)
        ).fetchall()
        found |= {row["id"]: job_of(row) for row in rows}
    if keep is not None:
        ended = "SELECT COUNT(*) AS number FROM jobs WHERE finished IS NOT NULL"
        number = database.execute(ended).fetchone()["number"]
        rows = database.execute(
            "SELECT * FROM jobs WHERE finished IS NOT NULL ORDER BY finished, sequence LIMIT ?",
            (max(0, min(limit, number - keep)),),
        ).fetchall()
        found |= {row["id"]: job_of(row) for row in rows}
    return list(found.values())[:limit]


def delete(database: Database, ids: Collection[str]) -> int:
    unpin(database, ids)
    where, values = _where(database, state=FINISHED, id=ids)
    deleted = database.execute(f"DELETE FROM jobs WHERE {where}", values).rowcount
    database.execute("DELETE FROM turns WHERE client NOT IN (SELECT client FROM jobs)")
    return deleted


def drop_picture(database: Database, id: str, name: str) -> Job | None:
    row = database.execute("SELECT pictures FROM jobs WHERE id = ? AND finished IS NOT NULL", (id,)).fetchone()
    pictures = [] if row is None else json.loads(row["pictures"])
    left = [picture for picture in pictures if picture["name"] != name]
    if len(left) == len(pictures):
        return None
    database.execute("UPDATE jobs SET pictures = ? WHERE id = ?", (as_json(left), id))
    return get(database, id)


def _where(database: Database, **among: Collection[str] | None) -> tuple[str, list[Any]]:
    """Return a condition, and its values, that each column is one of the values given; None allows all."""
    terms, values = ["TRUE"], list[Any]()
    for column, allowed in among.items():
        if allowed is not None:
            terms.append(f"{column} IN ({database.language.listed.format('?')})")
            values.append(database.language.list_of(allowed))
    return " AND ".join(terms), values
