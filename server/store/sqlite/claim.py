"""Which queued jobs are begun next: by priority, then clients in turn, each client's in the order of acceptance.

Clients share work, not jobs (start-time fair queueing; Goyal, Vin and Cheng, 1996): a client's turn comes the later,
the more work it was given, and who asked for nothing meanwhile saves nothing up.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_CLIENTS = """
    WITH RECURSIVE clients (client) AS (
        SELECT MIN(client) FROM jobs INDEXED BY queue WHERE state = 'queued' AND priority = :priority
        UNION ALL
        SELECT (
            SELECT MIN(client) FROM jobs INDEXED BY queue
            WHERE state = 'queued' AND priority = :priority AND client > clients.client
        ) FROM clients WHERE client IS NOT NULL
    )
"""
"""Who has a queued job of a priority, and a NULL: one step in the index for each client, however many jobs it has."""


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
    for priority in _priorities(database):
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


def waiting(database: sqlite3.Connection) -> frozenset[str]:
    """The clients that have a queued job."""
    return frozenset(
        client
        for priority in _priorities(database)
        for (client,) in database.execute(
            f"{_CLIENTS} SELECT client FROM clients WHERE client IS NOT NULL", {"priority": priority}
        )
    )


def _priorities(database: sqlite3.Connection) -> Iterator[int]:
    """Those of queued jobs, the highest first."""
    highest = "SELECT MAX(priority) FROM jobs INDEXED BY queue WHERE state = 'queued' AND priority < ?"
    priority = math.inf
    while (priority := database.execute(highest, (priority,)).fetchone()[0]) is not None:
        yield priority


def _queues(database: sqlite3.Connection, priority: int, room: int, not_models: Collection[str]) -> list[_Queue]:
    """As many clients as there is room for: none comes twice before those that are before a further one."""
    if room <= 0:
        return []
    passing = "AND model NOT IN (SELECT value FROM json_each(:not_models))" if not_models else ""
    values = {"priority": priority, "room": room, "not_models": json.dumps(list(not_models))}
    clients = database.execute(
        f"""
        {_CLIENTS}
        SELECT
            client,
            MAX(COALESCE(turn, 0), COALESCE((SELECT MAX(began) FROM turns), 0)) AS turn,
            (
                SELECT sequence FROM jobs INDEXED BY queue
                WHERE state = 'queued' AND priority = :priority AND client = clients.client {passing}
                ORDER BY sequence LIMIT 1
            ) AS first
        FROM clients LEFT JOIN turns USING (client) WHERE first IS NOT NULL ORDER BY turn, first LIMIT :room
        """,
        values,
    ).fetchall()
    oldest = f"""
        SELECT id, sequence, pictures_asked, work, attempt, excused FROM jobs INDEXED BY queue
        WHERE state = 'queued' AND priority = :priority AND client = :client {passing} ORDER BY sequence LIMIT :room
    """
    return [
        _Queue(client, turn, database.execute(oldest, values | {"client": client}).fetchall())
        for client, turn, _ in clients
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
