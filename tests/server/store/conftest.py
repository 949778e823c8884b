"""Fixtures with the stores that every test of the contract runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.store import Store
from tests.server.postgres import Postgres
from tests.server.stores import Kept, kept_in_memory, kept_in_postgres, kept_in_sqlite


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """Yield jobs on which the test opens one store after the other: each store that the server has."""
    kinds: dict[str, Callable[[], Kept]] = {
        "memory": kept_in_memory,
        "sqlite": lambda: kept_in_sqlite(tmp_path),
        "postgres": lambda: kept_in_postgres(_running(request)),
    }
    return kinds[request.param]()


def _running(request: pytest.FixtureRequest) -> Postgres:
    server = request.getfixturevalue("postgres_server")
    assert isinstance(server, Postgres)
    return server


@pytest.fixture
async def store(kept: Kept) -> AsyncIterator[Store]:
    """Yield a store that is open during the test."""
    async with kept.opened() as store:
        yield store
