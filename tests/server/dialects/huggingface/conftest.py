"""Fixtures with Hugging Face's own client of a server."""

from __future__ import annotations

from collections.abc import Iterator

import huggingface_hub
import pytest
from huggingface_hub import InferenceClient

from tests.server.conftest import RunningServer


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Switch off offline mode, in which this client would call no host at all; it calls only the test's own server."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield
    huggingface_hub.close_session()


@pytest.fixture
def client(server: RunningServer) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/hf")
