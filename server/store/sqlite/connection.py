"""The connection to an SQLite file: WAL, ``synchronous=FULL``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from pathlib import Path

from server.store import StoreUnusable
from server.store.sql.database import Language
from server.store.sqlite.schema import migrate

_BUSY_SECONDS = 10.0


def _without(column: str, keys: Collection[str]) -> tuple[str, list[str]]:
    return f"json_remove({column}{', ?' * len(keys)})", [f'$."{key}"' for key in keys]


SQLITE = Language(
    greatest="MAX",
    by_queue=" INDEXED BY queue",
    listed="SELECT value FROM json_each({})",
    list_of=lambda texts: json.dumps(list(texts)),
    counts="SELECT key AS name, value AS number FROM json_each({})",
    has_text=r"EXISTS (SELECT 1 FROM json_tree(tasks) WHERE type = 'text' AND atom LIKE ? ESCAPE '\')",
    without=_without,
)


class SqliteDatabase(sqlite3.Connection):
    """A connection to a file that no other process uses."""

    language = SQLITE
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    shared = False
    broken = False

    def lock_queue(self) -> None:
        """Do nothing: no other process is there."""


def connected(path: Path) -> SqliteDatabase:
    """Open the database in a file, and bring its tables up to this version. Raises ``StoreUnusable``."""
    database = None
    try:
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, factory=SqliteDatabase)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        migrate(database, str(path))
    except (sqlite3.Error, StoreUnusable) as error:
        if database is not None:
            database.close()
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(f"database: {path} cannot be used as an SQLite database ({error})") from None
    return database
