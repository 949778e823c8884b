"""The tables in PostgreSQL, and the scripts that turn those of an earlier version into those of this version."""

from __future__ import annotations

from server.store import StoreUnusable
from server.store.sql.database import Database

_SCHEMA_LOCK = 0x73642D73
"""The advisory lock of a server that changes the tables."""

_VERSIONS = (
    """
    CREATE TABLE jobs (
        sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id TEXT COLLATE "C" NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
        client TEXT COLLATE "C" NOT NULL,
        dialect TEXT NOT NULL,
        model TEXT NOT NULL,
        pictures_asked INTEGER NOT NULL,
        work DOUBLE PRECISION NOT NULL,
        priority INTEGER NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        started DOUBLE PRECISION,
        finished DOUBLE PRECISION,
        attempt INTEGER NOT NULL,
        excused INTEGER NOT NULL,      -- attempts that count for nothing
        cancel_requested INTEGER NOT NULL,
        interrupted INTEGER NOT NULL,  -- ends with the pictures that are done
        token TEXT NOT NULL UNIQUE,
        idempotency_key TEXT,
        fingerprint TEXT NOT NULL,     -- of what the idempotency key stands for; not used without one
        label TEXT,                    -- a name under which the dialect finds its jobs again
        tasks TEXT NOT NULL,           -- this and the following are JSON; seeds in it are text, being up to 2^64 - 1
        webhook TEXT,
        extra TEXT NOT NULL,
        pictures TEXT NOT NULL,
        failure TEXT,
        timings TEXT NOT NULL,
        record TEXT NOT NULL
    );
    CREATE UNIQUE INDEX keys ON jobs (client, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX queue ON jobs (priority, client, sequence) WHERE state = 'queued';
    CREATE INDEX running ON jobs (sequence) WHERE state = 'running';
    CREATE INDEX states ON jobs (state, dialect, sequence);
    CREATE INDEX ends ON jobs (finished) WHERE finished IS NOT NULL;
    CREATE INDEX labels ON jobs (label, sequence) WHERE label IS NOT NULL;
    CREATE TABLE turns (
        client TEXT COLLATE "C" PRIMARY KEY,
        began DOUBLE PRECISION NOT NULL,  -- its turn when one of its jobs last started
        turn DOUBLE PRECISION NOT NULL    -- that, and the work of that job
    );
    CREATE INDEX latest ON turns (began);
    CREATE TABLE outbox (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        client TEXT NOT NULL,
        moment TEXT NOT NULL,
        url TEXT NOT NULL,
        host TEXT NOT NULL,
        body TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        due DOUBLE PRECISION NOT NULL,
        attempts INTEGER NOT NULL
    );
    CREATE INDEX post ON outbox (due, host, client, job);
    CREATE TABLE identity (id TEXT NOT NULL);
    INSERT INTO identity VALUES (substr(replace(CAST(gen_random_uuid() AS TEXT), '-', ''), 17));
    CREATE TABLE inputs (
        id TEXT COLLATE "C" PRIMARY KEY,  -- the SHA-256 of the bytes
        file TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        size TEXT NOT NULL,               -- JSON
        client TEXT NOT NULL              -- whose quota it counts for
    );
    CREATE INDEX input_clients ON inputs (client, bytes);
    CREATE TABLE job_inputs (
        job BIGINT NOT NULL,              -- the job's sequence
        input TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (job, input)
    );
    CREATE INDEX jobs_of_inputs ON job_inputs (input);
    CREATE TABLE holds (
        owner TEXT NOT NULL,
        name TEXT COLLATE "C" NOT NULL,
        input TEXT COLLATE "C" NOT NULL,
        since DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (owner, name)
    );
    CREATE INDEX holds_of_inputs ON holds (input);
    """,
)
"""The scripts that lead from each version to the next, the first one from no tables. A script that was released never
changes."""


def migrate(database: Database) -> None:
    """Bring the tables up to this version, while no other server does. Raises ``StoreUnusable`` if a later version made
    them."""
    database.execute("BEGIN")
    database.execute("SELECT pg_advisory_xact_lock(?)", (_SCHEMA_LOCK,))
    database.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    row = database.execute("SELECT version FROM schema_version").fetchone()
    version = 0 if row is None else row["version"]
    if version > len(_VERSIONS):
        raise StoreUnusable(
            f"database: its tables were made by a later version of this server (their schema is {version}; "
            f"this one knows schemas up to {len(_VERSIONS)})"
        )
    for script in _VERSIONS[version:]:
        for statement in script.split(";\n"):
            database.execute(statement)
    if version < len(_VERSIONS):
        database.execute("DELETE FROM schema_version")
        database.execute("INSERT INTO schema_version VALUES (?)", (len(_VERSIONS),))
    database.execute("COMMIT")
