"""Fixtures with a receiver of webhooks, and no pauses between two attempts to deliver one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a message be delivered again at once."""
    monkeypatch.setattr("server.webhooks.delivery._FIRST_PAUSE", 0.0)
