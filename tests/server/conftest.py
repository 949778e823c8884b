"""Fixtures that start a real server on a free port, with a backend that makes pictures at once or with the real
engine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from server.app import create_app
from server.backends.instant import InstantBackend
from server.backends.protocol import Backend
from server.serving import listen
from server.settings import Settings
from server.web.services import Services
from tests.server.postgres import Postgres, postgres, programs
from tests.server.queues import settings_in


@dataclass(eq=False)
class RunningServer:
    """A server that listens."""

    url: str
    """``http://127.0.0.1:…``"""
    services: Services
    backend: Any
    """The backend it runs on: an ``InstantBackend`` unless the test named another."""
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Yield a PostgreSQL server for the whole run; skip the test where PostgreSQL is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked ``anyio`` run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a database and a folder of the test's own; ``model_copy(update=…)`` changes others."""
    return settings_in(tmp_path)


@pytest.fixture
def server(settings: Settings) -> Iterator[RunningServer]:
    """Run a server with an ``InstantBackend``. To change its settings, override ``settings`` in the test's module."""
    with running(settings, InstantBackend()) as server:
        yield server


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Return a function that starts servers with settings of the test's own."""
    with contextlib.ExitStack() as stack:

        def start(backend: Backend | None = None, **values: Any) -> RunningServer:
            chosen = settings_in(tmp_path, **values)
            return stack.enter_context(running(chosen, backend or InstantBackend()))

        yield start


@pytest.fixture
def engine_server(tmp_path: Path, models_folder: Path) -> Iterator[RunningServer]:
    """Run a server on the real engine with the checkpoints ``tiny``, the default, and ``other``."""
    from server.backends.engine import EngineBackend

    settings = settings_in(
        tmp_path, backend="engine", model="tiny", models_folders=(models_folder,), device="cpu", unet_rows=4
    )
    with running(settings, EngineBackend(settings)) as server:
        yield server


@contextlib.contextmanager
def running(settings: Settings, backend: Backend) -> Iterator[RunningServer]:
    """Run the server on a thread of its own until the end of the block."""
    app = create_app(settings, backend)
    listener = listen("127.0.0.1", 0)
    uvicorn_server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            lifespan="on",
            timeout_keep_alive=75,  # as the real server's: a slow machine's clients pause for longer than uvicorn's 5 s
            timeout_graceful_shutdown=2,
            ws="websockets-sansio",
        )
    )
    loop = asyncio.new_event_loop()

    def serve() -> None:  # all on one thread: the test's own may have a loop that runs (Playwright's)
        loop.run_until_complete(uvicorn_server.serve([listener]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    services: Services = app.state.services
    try:
        _wait_until(lambda: (uvicorn_server.started and services.backend.ready) or not thread.is_alive())
        assert thread.is_alive(), "the server did not start"
        yield RunningServer(f"http://127.0.0.1:{listener.getsockname()[1]}", services, backend, loop)
    finally:
        uvicorn_server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


def _wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise TimeoutError
