"""A receiver of webhooks, and a server of pictures, that keeps what arrives and answers as the test says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Call:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    script: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    """One behaviour for each call; later calls are answered with 204."""


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in ({"Content-Length": "0"} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()

    return behave


def answering(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send a good answer with ``data``."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        status(200, **{"Content-Length": str(len(data))})(handler)
        with contextlib.suppress(OSError):
            handler.wfile.write(data)

    return behave


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Send a good answer whose body never ends, until the caller closes the connection."""
    status(200, **{"Content-Length": str(2**40)})(handler)
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                return  # the caller was killed meanwhile
            named = {name.lower(): value for name, value in self.headers.items()}
            behave = receiver.script.pop(0) if receiver.script else status(204)
            behave(self)
            receiver.calls.append(Call(self.path, named, body))

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
