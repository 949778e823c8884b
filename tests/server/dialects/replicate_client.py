"""Replicate's client on a test's server."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

from PIL import Image
from replicate.client import Client

from tests.server.conftest import RunningServer
from tests.server.dialects.following import get

OpenClient = Callable[..., Client]


@contextlib.contextmanager
def opening_clients() -> Iterator[OpenClient]:
    """Makes clients of a server, and closes their connections in the end."""
    clients: list[Client] = []

    def make(server: RunningServer, path: str = "", token: str = "any") -> Client:
        clients.append(Client(api_token=token, base_url=server.url + path))
        clients[-1].poll_interval = 0.02
        return clients[-1]

    yield make
    for client in clients:
        client._client.close()


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(get(url).raise_for_status().content))
