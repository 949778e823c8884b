"""The messages that wait to be delivered. Each function runs within its caller's transaction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from server.store import Message
from server.store.sql.database import Database
from server.store.sql.rows import message_of

_LOOKED_THROUGH = 500
"""The number of messages among which the hosts' and clients' shares are counted."""


def post(database: Database, messages: Sequence[Message]) -> None:
    database.executemany(
        "INSERT INTO outbox (id, job, client, moment, url, host, body, created, due, attempts)"
        " VALUES (:id, :job, :client, :moment, :url, :host, :body, :created, :due, :attempts)",
        [{**vars(message), "host": message.host} for message in messages],
    )


def due(
    database: Database,
    now: float,
    limit: int,
    per_host: int,
    per_client: int,
    under_way: Sequence[Message],
) -> list[Message]:
    """Leave out hosts and clients that have their share first, so that others get theirs however many wait for those.

    The longest due of the rest is always returned.
    """
    language = database.language
    rows = database.execute(
        f"""
        WITH hosts AS (SELECT name AS host, number FROM ({language.counts.format(":hosts")}) AS busy),
        clients AS (SELECT name AS client, number FROM ({language.counts.format(":clients")}) AS busy),
        near AS (
            SELECT id, host, client, job, due FROM outbox
            WHERE due <= :now AND host NOT IN (SELECT host FROM hosts WHERE number >= :per_host)
                AND client NOT IN (SELECT client FROM clients WHERE number >= :per_client)
                AND job NOT IN ({language.listed.format(":jobs")})
            ORDER BY due LIMIT :looked
        ),
        first AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY job ORDER BY due) AS of_job FROM near),
        shared AS (
            SELECT id,
                COALESCE(hosts.number, 0) + ROW_NUMBER() OVER (PARTITION BY first.host ORDER BY due) AS of_host,
                COALESCE(clients.number, 0) + ROW_NUMBER() OVER (PARTITION BY first.client ORDER BY due) AS of_client
            FROM first LEFT JOIN hosts USING (host) LEFT JOIN clients USING (client) WHERE of_job = 1
        )
        SELECT outbox.* FROM shared JOIN outbox USING (id)
        WHERE of_host <= :per_host AND of_client <= :per_client ORDER BY outbox.due LIMIT :limit
        """,
        {
            "now": now,
            "hosts": json.dumps(Counter(message.host for message in under_way)),
            "clients": json.dumps(Counter(message.client for message in under_way)),
            "jobs": language.list_of([message.job for message in under_way]),
            "per_host": per_host,
            "per_client": per_client,
            "looked": _LOOKED_THROUGH,
            "limit": limit,
        },
    )
    return [message_of(row) for row in rows]


def next_due(database: Database) -> float | None:
    when = database.execute("SELECT MIN(due) AS due FROM outbox").fetchone()["due"]
    return None if when is None else float(when)


def delivered(database: Database, id: str) -> None:
    database.execute("DELETE FROM outbox WHERE id = ?", (id,))


def postpone(database: Database, id: str, due: float) -> None:
    database.execute("UPDATE outbox SET due = ?, attempts = attempts + 1 WHERE id = ?", (due, id))
