"""Fixtures with clients of ComfyUI's dialect, on a test's own server or on one that tests of refusals share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer, running
from tests.server.dialects.comfyui.client import Comfy
from tests.server.following import all_jobs
from tests.server.queues import settings_in


@pytest.fixture
def comfy(server: RunningServer) -> Comfy:
    return Comfy(server, connect=False)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """Yield a client of a server that is shared by all tests that start no prompt."""
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "secret.png").write_bytes(b"secret")
    with running(settings_in(folder), InstantBackend()) as server:
        yield Comfy(server, connect=False)
        assert all_jobs(server) == []
