"""Chooses the store that a setting names."""

from __future__ import annotations

from pathlib import Path

from server.store.memory.store import MemoryStore
from server.store.protocol import Compose, Store
from server.store.sqlite.store import SqliteStore

MEMORY = ":memory:"
"""The name of a database that lasts as long as its process, as SQLite has it."""


def new_store(database: Path, compose: Compose) -> Store:
    """Return the store for ``database``, not open yet: an SQLite file, or ``:memory:`` for none."""
    return MemoryStore(compose=compose) if str(database) == MEMORY else SqliteStore(database, compose=compose)
