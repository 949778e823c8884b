"""Replicate's client on a test's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from replicate.client import Client

from tests.server.conftest import RunningServer
from tests.server.dialects.replicate.client import OpenClient


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    """Return a function that makes clients of servers; their connections are closed in the end."""
    clients: list[Client] = []

    def make(server: RunningServer, path: str = "", token: str = "any") -> Client:
        clients.append(Client(api_token=token, base_url=server.url + path))
        clients[-1].poll_interval = 0.02
        return clients[-1]

    yield make
    for client in clients:
        client._client.close()


@pytest.fixture
def client(server: RunningServer, open_client: OpenClient) -> Client:
    return open_client(server)
