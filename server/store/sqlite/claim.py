"""The choice of the jobs to start next: by priority, then clients in turn, each client's in the order of acceptance.

Clients share work, not jobs (start-time fair queueing; Goyal, Vin and Cheng, 1996): the more work a client was given,
the later comes its next turn, and a client that asks for nothing for a while saves nothing up.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from server.store.rules import under_suspicion

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
"""The clients with a queued job of a priority, and a NULL: one step in the index for each client, however many jobs it
has."""


@dataclass(eq=False)
class _Queue:
    """One client's queued jobs of one priority."""

    client: str
    turn: float
    jobs: list[sqlite3.Row]


def claim(
    database: sqlite3.Connection, *, pictures: int, alone: bool, max_attempts: int, not_models: Collection[str]
) -> list[str]:
    """Return the ids of the jobs that ``Store.claim`` starts, and note their clients' turns."""
    chosen: list[sqlite3.Row] = []
    room = pictures
    for priority in _priorities(database):
        queues = _queues(database, priority, room, not_models)
        while queues and room > 0:
            queue = min(queues, key=lambda each: (each.turn, each.jobs[0]["sequence"]))
            job = queue.jobs[0]
            if under_suspicion(job["attempt"] - job["excused"] + 1, max_attempts):
                if alone and not chosen:
                    _took(database, queue, job)
                    return [job["id"]]
                return [each["id"] for each in chosen]  # the others end first, then it is started alone
            chosen.append(queue.jobs.pop(0))
            room -= job["pictures_asked"]
            _took(database, queue, job)
            if not queue.jobs:
                queues.remove(queue)
        if room <= 0:
            break
    return [each["id"] for each in chosen]


def waiting(database: sqlite3.Connection) -> frozenset[str]:
    """Return the clients that have a queued job."""
    return frozenset(
        client
        for priority in _priorities(database)
        for (client,) in database.execute(
            f"{_CLIENTS} SELECT client FROM clients WHERE client IS NOT NULL", {"priority": priority}
        )
    )


def _priorities(database: sqlite3.Connection) -> Iterator[int]:
    """Yield the priorities of queued jobs, the highest first."""
    highest = "SELECT MAX(priority) FROM jobs INDEXED BY queue WHERE state = 'queued' AND priority < ?"
    priority = math.inf
    while (priority := database.execute(highest, (priority,)).fetchone()[0]) is not None:
        yield priority


def _queues(database: sqlite3.Connection, priority: int, room: int, not_models: Collection[str]) -> list[_Queue]:
    """Return the queues of as many clients as there is room for: a client further back would get no turn."""
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


def _took(database: sqlite3.Connection, queue: _Queue, job: sqlite3.Row) -> None:
    began, queue.turn = queue.turn, queue.turn + job["work"]
    database.execute(
        """
        INSERT INTO turns (client, began, turn) VALUES (?, ?, ?)
        ON CONFLICT (client) DO UPDATE SET began = excluded.began, turn = excluded.turn
        """,
        (queue.client, began, queue.turn),
    )
