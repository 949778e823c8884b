"""Fixtures with the stores that every test of the contract runs on: a further store is one more entry in ``STORES``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.store import Store
from tests.server.stores import STORES, Kept


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """Yield jobs on which the test opens one store after the other."""
    return STORES[request.param](tmp_path)


@pytest.fixture
async def store(kept: Kept) -> AsyncIterator[Store]:
    """Yield a store that is open during the test."""
    async with kept.opened() as store:
        yield store
