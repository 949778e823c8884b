"""OpenAI's client on a test's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import client_of


@pytest.fixture
def client(server: RunningServer) -> Iterator[OpenAI]:
    with client_of(server) as client:
        yield client
