"""The choice of the jobs to start next: by priority, then clients in turn, each client's in the order of acceptance.

Clients share work, not jobs (start-time fair queueing; Goyal, Vin and Cheng, 1996): the more work a client was given,
the later comes its next turn, and a client that asks for nothing for a while saves nothing up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from server.store.rules import under_suspicion
from server.store.sql.database import Database, Row

_CLIENTS = """
    WITH RECURSIVE clients (client) AS (
        SELECT MIN(client) FROM jobs{by_queue} WHERE state = 'queued' AND priority = :priority
        UNION ALL
        SELECT (
            SELECT MIN(client) FROM jobs{by_queue}
            WHERE state = 'queued' AND priority = :priority AND client > clients.client
        ) FROM clients WHERE client IS NOT NULL
    )
"""
"""The clients with a queued job of a priority, and a NULL: one step in the index for each client, however many jobs it
has."""

_ABOVE_ALL = 2**30
"""A priority that no job has."""


@dataclass(eq=False)
class _Queue:
    """One client's queued jobs of one priority."""

    client: str
    turn: float
    jobs: list[Row]


def claim(
    database: Database, *, pictures: int, alone: bool, max_attempts: int, not_models: Collection[str]
) -> list[str]:
    """Return the ids of the jobs that ``Store.claim`` starts, and note their clients' turns."""
    chosen: list[Row] = []
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


def waiting(database: Database) -> frozenset[str]:
    """Return the clients that have a queued job."""
    clients = _CLIENTS.format(by_queue=database.language.by_queue)
    return frozenset(
        row["client"]
        for priority in _priorities(database)
        for row in database.execute(
            f"{clients} SELECT client FROM clients WHERE client IS NOT NULL", {"priority": priority}
        )
    )


def _priorities(database: Database) -> Iterator[int]:
    """Yield the priorities of queued jobs, the highest first."""
    jobs = f"jobs{database.language.by_queue}"
    highest = f"SELECT MAX(priority) AS highest FROM {jobs} WHERE state = 'queued' AND priority < ?"
    priority = _ABOVE_ALL
    while (priority := database.execute(highest, (priority,)).fetchone()["highest"]) is not None:
        yield priority


def _queues(database: Database, priority: int, room: int, not_models: Collection[str]) -> list[_Queue]:
    """Return the queues of as many clients as there is room for: a client further back would get no turn."""
    if room <= 0:
        return []
    language = database.language
    passing = f"AND model NOT IN ({language.listed.format(':not_models')})" if not_models else ""
    values = {"priority": priority, "room": room, "not_models": language.list_of(not_models)}
    clients = database.execute(
        f"""
        {_CLIENTS.format(by_queue=language.by_queue)}
        SELECT client, turn FROM (
            SELECT
                client,
                {language.greatest}(COALESCE(turn, 0), COALESCE((SELECT MAX(began) FROM turns), 0)) AS turn,
                (
                    SELECT sequence FROM jobs{language.by_queue}
                    WHERE state = 'queued' AND priority = :priority AND client = clients.client {passing}
                    ORDER BY sequence LIMIT 1
                ) AS first
            FROM clients LEFT JOIN turns USING (client)
        ) AS queues WHERE first IS NOT NULL ORDER BY turn, first LIMIT :room
        """,
        values,
    ).fetchall()
    oldest = f"""
        SELECT id, sequence, pictures_asked, work, attempt, excused FROM jobs{language.by_queue}
        WHERE state = 'queued' AND priority = :priority AND client = :client {passing} ORDER BY sequence LIMIT :room
    """
    return [
        _Queue(row["client"], row["turn"], database.execute(oldest, values | {"client": row["client"]}).fetchall())
        for row in clients
    ]


def _took(database: Database, queue: _Queue, job: Row) -> None:
    began, queue.turn = queue.turn, queue.turn + job["work"]
    database.execute(
        """
        INSERT INTO turns (client, began, turn) VALUES (?, ?, ?)
        ON CONFLICT (client) DO UPDATE SET began = excluded.began, turn = excluded.turn
        """,
        (queue.client, began, queue.turn),
    )
