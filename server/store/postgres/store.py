"""The store in a PostgreSQL database."""

from __future__ import annotations

from server.store import Compose
from server.store.postgres.connection import connected
from server.store.sql.store import SqlStore


class PostgresStore(SqlStore):
    """A ``Store`` in the database of a ``postgresql://`` URL."""

    def __init__(self, url: str, *, compose: Compose = lambda job, moment: ()) -> None:
        super().__init__(lambda: connected(url), compose=compose)
