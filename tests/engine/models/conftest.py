"""A checkpoint file on a local server, for whatever downloads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web_server import Server, Site, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="session")
def content(tiny_checkpoint: Path) -> bytes:
    return tiny_checkpoint.read_bytes()


@pytest.fixture(scope="session")
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    with serving(Site(content)) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny.safetensors"
