"""Chooses the store that a setting names."""

from __future__ import annotations

from pathlib import Path

from server.addresses import MEMORY, is_postgres
from server.store.memory.store import MemoryStore
from server.store.protocol import Compose, Store, StoreUnusable
from server.store.sqlite.store import SqliteStore


def new_store(database: str, compose: Compose) -> Store:
    """Return the store for ``database``, not open yet: a PostgreSQL URL, an SQLite file, or ``:memory:`` for none.

    Raises ``StoreUnusable`` where a package is missing.
    """
    if database == MEMORY:
        return MemoryStore(compose=compose)
    if not is_postgres(database):
        return SqliteStore(Path(database), compose=compose)
    try:
        from server.store.postgres.store import PostgresStore
    except ImportError as error:
        raise StoreUnusable(
            f"database: PostgreSQL needs the package psycopg (pip install '.[postgres]'; {error})"
        ) from None
    return PostgresStore(database, compose=compose)
