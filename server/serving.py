"""One server process: it listens, logs a summary at the start, and drains on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engine import EngineError
from engine.command_line import imports_kept_from_collector
from engine.models import catalog
from server.addresses import without_secrets
from server.app import create_app, drain, running
from server.dialects.registry import served_dialects
from server.settings import Settings
from server.web.services import Services

log = logging.getLogger(__name__)

_BACKLOG = 2048
_CLOSING_SECONDS = 5
"""Seconds that answers on their way get once all jobs have ended."""
_KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open. Clients and proxies must give theirs up first: they would otherwise send a
request into a connection that is being closed."""
_LONGEST_HEAD = 2**16
"""Bytes of a request's line and headers, which anyone can send before a key is checked."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on the length of a request's head."""

    _head, _in_head = 0, False

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > _LONGEST_HEAD and not self.transport.is_closing():
                self.send_400_response(f"Request line and headers: at most {_LONGEST_HEAD} bytes.")


class CannotListen(Exception):
    """The address is taken, or does not belong to this machine."""


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens on ``host`` and ``port``. Raises ``CannotListen``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio switches Nagle's algorithm off, which would delay answers by 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listener


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises what ``running`` raises, and the error that stopped the backend."""
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        app = create_app(settings)
        server = Server(app, listener)
        app.state.give_up = server.give_up
        importing = asyncio.ensure_future(asyncio.to_thread(_import_engine, settings))
        async with running(app):
            log_summary(app.state.services, listener)
            await server.serve(sockets=[listener])
        await importing
        if server.error is not None:
            raise server.error


def _import_engine(settings: Settings) -> None:
    """Import what the backend needs, before it does: the process that serves keeps the collector from these modules."""
    if settings.backend == "engine":
        with imports_kept_from_collector(), contextlib.suppress(ImportError):  # the backend reports it
            importlib.import_module("engine.engine")


class Server(uvicorn.Server):
    """uvicorn's server, which lets jobs end before it closes connections, so that waiting calls get their answers."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        settings = app.state.services.settings
        config = uvicorn.Config(
            app,
            lifespan="off",  # ``serve`` runs it, so that its errors keep their types
            log_config=None,
            access_log=False,
            server_header=False,
            http=LimitedProtocol,
            ws_max_size=2**20,
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        super().__init__(config)
        self._services: Services = app.state.services
        self.error: Exception | None = None

    def give_up(self, error: Exception) -> None:
        """Stop serving because of ``error``, which ``serve`` raises in the end."""
        self.error = error
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at once at a second signal of either kind; uvicorn does so at a second SIGINT alone."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the jobs, then shut down as uvicorn does."""
        log.info("shutting down: jobs have %.0f s to end", self._services.settings.drain_seconds)
        draining = asyncio.ensure_future(drain(self._services))
        while not draining.done():
            await asyncio.wait({draining}, timeout=0.1)
            if self.force_exit:  # a second signal: running jobs go back into the queue at once
                self._services.jobs.hurry()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals as uvicorn does, but do not raise them again at the end: an orderly end exits with 0."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def log_summary(services: Services, listener: socket.socket) -> None:
    """Log where the server listens, what it serves and where it keeps jobs and pictures."""
    settings, (host, port) = services.settings, listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    keys = f"API keys needed: {', '.join(settings.api_keys)}" if settings.api_keys else "no API key needed"
    log.info("listening on %s (%s)", settings.public_url or url, keys)
    log.info("dialects: %s", ", ".join(dialect.name for dialect in served_dialects(settings.dialects)))
    log.info("jobs in %s, pictures in %s", without_secrets(settings.database), settings.outputs)
    if settings.backend == "instant":
        log.warning("backend instant: pictures are plain colours")
    elif settings.model is None:
        with contextlib.suppress(EngineError):
            _log_model(settings)


def _log_model(settings: Settings) -> None:
    chosen = catalog.default(settings.models_folders).stem
    if chosen != catalog.DEFAULTS[0]:
        note = next((known.note for known in catalog.known_checkpoints() if known.name == chosen), None)
        better = catalog.how_to_get_the_first(settings.models_folders)
        log.info("model %s (%s); for %s, %s", chosen, note, catalog.DEFAULTS[0], better)
