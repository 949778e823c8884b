"""Fixtures with clients of AUTOMATIC1111's API, on a test's own server or on one that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer, running
from tests.server.dialects.sdapi.calls import client_of
from tests.server.queues import settings_in


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    yield from client_of(server)


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a shared server, for tests that leave nothing behind."""
    with running(settings_in(tmp_path_factory.mktemp("server")), InstantBackend()) as server:
        yield from client_of(server)
