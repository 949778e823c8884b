"""The tables, and the scripts that turn a database of an earlier version into one of this version."""

from __future__ import annotations

import sqlite3

from server.store import StoreUnusable

_VERSIONS = (
    """
    CREATE TABLE jobs (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, also after the retention time
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
        client TEXT NOT NULL,
        dialect TEXT NOT NULL,
        model TEXT NOT NULL,
        pictures_asked INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        created REAL NOT NULL,
        started REAL,
        finished REAL,
        attempt INTEGER NOT NULL,
        excused INTEGER NOT NULL,      -- attempts that count for nothing
        cancel_requested INTEGER NOT NULL,
        token TEXT NOT NULL UNIQUE,
        idempotency_key TEXT,
        fingerprint TEXT NOT NULL,     -- of what the idempotency key stands for; not used without one
        requests TEXT NOT NULL,        -- this and the following are JSON; seeds in it are text, being up to 2^64 - 1
        webhook TEXT,
        extra TEXT NOT NULL,
        pictures TEXT NOT NULL,
        failure TEXT,
        timings TEXT NOT NULL,
        record TEXT NOT NULL
    );
    CREATE UNIQUE INDEX keys ON jobs (client, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX queue ON jobs (priority, client, sequence, model) WHERE state = 'queued';
    CREATE INDEX states ON jobs (state, dialect, sequence);
    CREATE INDEX ends ON jobs (finished) WHERE finished IS NOT NULL;
    CREATE TABLE turns (
        client TEXT PRIMARY KEY,
        turn INTEGER NOT NULL          -- when one of its jobs last started, counted in jobs
    ) WITHOUT ROWID;
    CREATE INDEX latest ON turns (turn);
    CREATE TABLE outbox (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        moment TEXT NOT NULL,
        url TEXT NOT NULL,
        body TEXT NOT NULL,
        created REAL NOT NULL,
        due REAL NOT NULL,
        attempts INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX post ON outbox (due);
    """,
    """
    ALTER TABLE jobs ADD COLUMN work REAL NOT NULL DEFAULT 0;  -- what it costs; only of those that were not done
    UPDATE jobs SET work = (
        SELECT SUM(
            (json_extract(value, '$.steps') * json_extract(value, '$.denoise') + 1)
            * json_extract(value, '$.batch_size')
            * json_extract(value, '$.width') * json_extract(value, '$.height') / 262144.0
        ) FROM json_each(requests)
    ) WHERE state IN ('queued', 'running');
    DROP INDEX queue;
    CREATE INDEX queue ON jobs (priority, client, sequence, model, work, id) WHERE state = 'queued';
    CREATE INDEX workflows ON jobs (
        CASE WHEN json_valid(extra) THEN json_extract(extra, '$.extra_data.extra_pnginfo.workflow.id') END
    );
    DROP TABLE turns;
    CREATE TABLE turns (
        client TEXT PRIMARY KEY,
        began REAL NOT NULL,           -- its turn when one of its jobs last started
        turn REAL NOT NULL             -- that, and the work of that job
    ) WITHOUT ROWID;
    CREATE INDEX latest ON turns (began);
    ALTER TABLE outbox ADD COLUMN host TEXT NOT NULL DEFAULT '';
    UPDATE outbox SET host = lower(substr(url, instr(url, '://') + 3));
    UPDATE outbox SET host = replace(replace(host, '?', '/'), '#', '/') || '/';
    UPDATE outbox SET host = substr(host, 1, instr(host, '/') - 1);
    DROP INDEX post;
    CREATE INDEX post ON outbox (due, host, job);
    """,
    """
    ALTER TABLE outbox ADD COLUMN client TEXT NOT NULL DEFAULT '';
    UPDATE outbox SET client = COALESCE((SELECT client FROM jobs WHERE jobs.id = outbox.job), '');
    DROP INDEX post;
    CREATE INDEX post ON outbox (due, host, client, job);
    """,
    """
    ALTER TABLE jobs ADD COLUMN label TEXT;  -- a name under which the dialect finds its jobs again
    UPDATE jobs SET label = json_extract(extra, '$.extra_data.extra_pnginfo.workflow.id')
    WHERE dialect = 'comfyui' AND json_valid(extra)
        AND json_type(extra, '$.extra_data.extra_pnginfo.workflow.id') = 'text';
    DROP INDEX workflows;
    CREATE INDEX labels ON jobs (label, sequence) WHERE label IS NOT NULL;
    """,
    """
    ALTER TABLE jobs RENAME COLUMN requests TO tasks;  -- each a request, a graph, or both
    UPDATE jobs SET tasks = (SELECT json_group_array(json_object('request', json(value))) FROM json_each(tasks))
    WHERE json_valid(tasks);
    """,
    """
    CREATE TABLE identity (id TEXT NOT NULL);
    INSERT INTO identity VALUES (lower(hex(randomblob(8))));
    CREATE TABLE inputs (
        id TEXT PRIMARY KEY,           -- the SHA-256 of the bytes
        file TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        size TEXT NOT NULL,            -- JSON
        client TEXT NOT NULL           -- whose quota it counts for
    ) WITHOUT ROWID;
    CREATE INDEX input_clients ON inputs (client, bytes);
    CREATE TABLE job_inputs (
        job INTEGER NOT NULL,          -- the job's sequence
        input TEXT NOT NULL,
        PRIMARY KEY (job, input)
    ) WITHOUT ROWID;
    CREATE INDEX jobs_of_inputs ON job_inputs (input);
    CREATE TABLE holds (
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        input TEXT NOT NULL,
        since REAL NOT NULL,
        PRIMARY KEY (owner, name)
    ) WITHOUT ROWID;
    CREATE INDEX holds_of_inputs ON holds (input);
    """,
    """
    ALTER TABLE jobs ADD COLUMN interrupted INTEGER NOT NULL DEFAULT 0;  -- ends with the pictures that are done
    """,
)
"""The scripts that lead from each version to the next, the first one from an empty file. A script that was released
never changes."""


def migrate(database: sqlite3.Connection, name: str) -> None:
    """Bring ``database`` up to this version. Raises ``StoreUnusable`` if a later version made it."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(_VERSIONS):
        raise StoreUnusable(
            f"database: {name} was made by a later version of this server (its schema is {version}; "
            f"this one knows schemas up to {len(_VERSIONS)})"
        )
    for number, script in enumerate(_VERSIONS[version:], start=version + 1):
        database.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
