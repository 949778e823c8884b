"""The connection to a PostgreSQL server, of version 14 or later."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from server.store import StoreUnusable
from server.store.postgres.schema import migrate
from server.store.sql.database import Language, Rows, Values

_OLDEST = 140_000
"""The oldest version that is supported, as PostgreSQL numbers them."""

_SERVER_LOCK = 0x73642D6F
"""The advisory lock of the one server that uses the database."""

_QUEUE_LOCK = 0x73642D71
"""The advisory lock of all that changes the queue."""

_TRIES, _BETWEEN_TRIES = 20, 0.1
"""How often a lock that another connection has is asked for, and the seconds in between."""

_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "stable-diffusion-engine",
    "keepalives_idle": 5,  # a connection that leads nowhere is noticed within some 15 s
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What a connection is opened with where its URL says nothing else."""


_HAS_TEXT = r"""EXISTS (
    SELECT 1 FROM jsonb_path_query(CAST(replace(tasks, '\u0000', '\u2400') AS jsonb), 'strict $.**') AS each_one (part)
    WHERE jsonb_typeof(part) = 'string'
        AND lower((part #>> '{}') COLLATE "C") LIKE lower(CAST(? AS TEXT) COLLATE "C") ESCAPE '\'
)"""

POSTGRES = Language(
    greatest="GREATEST",
    by_queue="",
    listed="SELECT unnest(CAST({} AS TEXT[]))",
    list_of=list,
    counts="SELECT key AS name, CAST(value AS INTEGER) AS number FROM json_each_text(CAST({} AS json)) AS entries",
    has_text=_HAS_TEXT,
    without=lambda column, keys: (column, []),  # its JSON functions refuse \\u0000, which prompts may hold
)


class PostgresDatabase:
    """A connection to a database that several servers may use."""

    language = POSTGRES
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    shared = True

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection

    @property
    def broken(self) -> bool:
        """Whether the connection is lost, so that only a new one helps."""
        return self._connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.info.transaction_status != pq.TransactionStatus.IDLE

    def execute(self, statement: str, values: Values = (), /) -> Rows:
        """Carry out a statement with its values."""
        return self._connection.execute(_translated(statement), _storable(values) or None)

    def executemany(self, statement: str, values: Iterable[Values], /) -> None:
        """Carry out a statement once for each of ``values``."""
        self._connection.cursor().executemany(_translated(statement), map(_storable, values))

    def lock_queue(self) -> None:
        """Wait until no other server changes the queue, and let none do it until the transaction ends."""
        self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_QUEUE_LOCK,))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def connected(url: str) -> PostgresDatabase:
    """Connect to the database of a ``postgresql://`` URL, take it over for this server alone, and bring its tables up
    to this version.

    Raises ``StoreUnusable``, whose message has no password in it.
    """
    try:
        parameters = _DEFAULTS | conninfo_to_dict(url)
        connection = psycopg.connect(**parameters, autocommit=True, row_factory=dict_row)
    except psycopg.Error as error:
        raise StoreUnusable(f"database: PostgreSQL cannot be reached ({_one_line(error)})") from None
    try:
        _check(connection)
        connection.execute("SET synchronous_commit = on")  # what is accepted is on disk, whatever the default is
        database = PostgresDatabase(connection)
        migrate(database)
    except psycopg.Error as error:
        connection.close()
        raise StoreUnusable(f"database: PostgreSQL refuses what the tables need ({_one_line(error)})") from None
    except StoreUnusable:
        connection.close()
        raise
    return database


def _check(connection: psycopg.Connection[DictRow]) -> None:
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < _OLDEST:
        raise StoreUnusable(f"database: PostgreSQL {version // 10_000} is too old; version 14 or later is needed")
    if encoding != "UTF8":
        raise StoreUnusable(f"database: its encoding is {encoding}; UTF8 is needed")
    if not _taken_over(connection):
        raise StoreUnusable("database: another server uses it; stop that one, or name another database")


def _taken_over(connection: psycopg.Connection[DictRow]) -> bool:
    """Take the lock of the one server, which ends with a connection, at times only a moment after its program."""
    for _ in range(_TRIES):
        row = connection.execute("SELECT pg_try_advisory_lock(%s) AS taken", (_SERVER_LOCK,)).fetchone()
        if row is not None and row["taken"]:
            return True
        time.sleep(_BETWEEN_TRIES)
    return False


@functools.lru_cache(maxsize=512)
def _translated(statement: str) -> bytes:
    """Turn ``?`` into ``%s`` and ``:name`` into ``%(name)s``."""
    return re.sub(r":(\w+)", r"%(\1)s", statement.replace("?", "%s")).encode()


def _storable(values: Any) -> Any:
    """Return values with ␀ in place of the character 0, which PostgreSQL's texts cannot hold."""
    if isinstance(values, str):
        return values.replace("\0", "␀")
    if isinstance(values, Mapping):
        return {name: _storable(value) for name, value in values.items()}
    return [_storable(each) for each in values] if isinstance(values, list | tuple) else values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
