"""A local HTTP server for one file that misbehaves on demand: it cuts, stalls, lies, redirects, changes."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers with ``site``; ``url`` is where it is."""

    daemon_threads = True
    block_on_close = False
    site: Site

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to print."""


@dataclass
class Site:
    """What the server gives, and how. ``script`` has one behaviour per request; after those, the server behaves."""

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    extra: dict[str, str] = field(default_factory=dict)
    script: list[Callable[[Handler], None]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request, with its path under ``path``."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        site = self.server.site
        site.requests.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
        (site.script.pop(0) if site.script else serve)(self)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silence."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def serve(handler: Handler, *, cut_after: int | None = None, length: int | None = None) -> None:
    """The file, or the part that is asked for. ``length``: what Content-Length says instead of the truth."""
    site, start = handler.server.site, 0
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if wanted and site.ranges and handler.headers.get("If-Range") in (None, site.etag):
        start = int(wanted[1])
        if start >= len(site.content):
            handler.head(416, {"Content-Range": f"bytes */{len(site.content)}", "Content-Length": "0"})
            return
    body = site.content[start:]
    headers = {"Content-Length": str(len(body) if length is None else length)} | site.extra
    if site.etag is not None:
        headers["ETag"] = site.etag
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(site.content) - 1}/{len(site.content)}"
    handler.head(206 if start else 200, headers)
    handler.wfile.write(body if cut_after is None else body[:cut_after])


def cut(after: int) -> Callable[[Handler], None]:
    """Close the connection after ``after`` bytes of the body."""
    return lambda handler: serve(handler, cut_after=after)


def reset(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def stall(after: int, seconds: float = 1.5) -> Callable[[Handler], None]:
    """Send ``after`` bytes, then nothing for longer than the tests' patience."""

    def behave(handler: Handler) -> None:
        serve(handler, cut_after=after)
        handler.wfile.flush()
        threading.Event().wait(seconds)

    return behave


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[Handler], None]:
    """A fixed answer; in the headers' names "_" stands for "-"."""

    def behave(handler: Handler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.head(status, {"Content-Length": str(len(body))} | named)
        handler.wfile.write(body)

    return behave


def chunked(handler: Handler, *, whole: bool) -> None:
    """The file in chunks, without its length; cut within the second unless ``whole``."""
    handler.protocol_version = "HTTP/1.1"
    handler.head(200, {"Transfer-Encoding": "chunked", "Connection": "close", "ETag": '"one"'})
    content = handler.server.site.content
    for piece in (content[:1000], content[1000:]):
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + (piece if whole else piece[:1000]) + b"\r\n" * whole)
    handler.wfile.write(b"0\r\n\r\n" * whole)
    handler.close_connection = True


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Server]:
    """A server for ``site`` on a free port of this machine."""
    server = Server(("127.0.0.1", 0), Handler)
    server.site = site
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
