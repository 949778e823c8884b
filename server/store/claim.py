"""Which queued jobs are begun next: by priority, then clients in turn, each client's in the order of acceptance.

Clients share work, not jobs (start-time fair queueing; Goyal, Vin and Cheng, 1996): a client's turn comes the later,
the more work it was given, and who asked for nothing meanwhile saves nothing up.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(eq=False)
class _Queue:
    """One client's jobs of one priority."""

    client: str
    turn: float
    jobs: list[sqlite3.Row]


def claim(
    database: sqlite3.Connection, *, pictures: int, alone: bool, max_attempts: int, not_models: Collection[str]
) -> list[str]:
    """The ids of ``Store.claim``; the clients' turns are noted."""
    chosen: list[sqlite3.Row] = []
    room = pictures
    for (priority,) in database.execute(
        "SELECT DISTINCT priority FROM jobs WHERE state = 'queued' ORDER BY priority DESC"
    ).fetchall():
        queues = _queues(database, priority, room, not_models)
        while queues and room > 0:
            queue = min(queues, key=lambda each: (each.turn, each.jobs[0]["sequence"]))
            job = queue.jobs[0]
            if _on_last_attempt(job, max_attempts):
                if alone and not chosen:
                    _took(database, queue, job)
                    return [job["id"]]
                return [each["id"] for each in chosen]  # the others end first, then it is begun alone
            chosen.append(queue.jobs.pop(0))
            room -= job["pictures_asked"]
            _took(database, queue, job)
            if not queue.jobs:
                queues.remove(queue)
        if room <= 0:
            break
    return [each["id"] for each in chosen]


def _queues(database: sqlite3.Connection, priority: int, room: int, not_models: Collection[str]) -> list[_Queue]:
    """As many clients as there is room for: none comes twice before those that are before a further one."""
    if room <= 0:
        return []
    among = "state = 'queued' AND priority = ?"
    if not_models:
        among += " AND model NOT IN (SELECT value FROM json_each(?))"
    passed_over = [json.dumps(list(not_models))] if not_models else []
    clients = database.execute(
        f"""
        SELECT client, MAX(COALESCE(turn, 0), COALESCE((SELECT MAX(began) FROM turns), 0)) AS turn FROM
            (SELECT client, MIN(sequence) AS first FROM jobs INDEXED BY queue WHERE {among} GROUP BY client)
            LEFT JOIN turns USING (client)
        ORDER BY turn, first LIMIT ?
        """,
        (priority, *passed_over, room),
    ).fetchall()
    oldest = f"""
        SELECT id, sequence, pictures_asked, work, attempt, excused FROM jobs INDEXED BY queue
        WHERE {among} AND client = ? ORDER BY sequence LIMIT ?
    """
    return [
        _Queue(client, turn, database.execute(oldest, (priority, *passed_over, client, room)).fetchall())
        for client, turn in clients
    ]


def _on_last_attempt(job: sqlite3.Row, max_attempts: int) -> bool:
    counted = int(job["attempt"]) - int(job["excused"])
    return counted > 0 and counted + 1 >= max_attempts


def _took(database: sqlite3.Connection, queue: _Queue, job: sqlite3.Row) -> None:
    began, queue.turn = queue.turn, queue.turn + job["work"]
    database.execute(
        """
        INSERT INTO turns (client, began, turn) VALUES (?, ?, ?)
        ON CONFLICT (client) DO UPDATE SET began = excluded.began, turn = excluded.turn
        """,
        (queue.client, began, queue.turn),
    )
