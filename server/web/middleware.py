"""What every connection passes before a route sees it: access, the limit on bodies, security headers, HEAD.

All of it is plain ASGI, so that websockets and streams pass through unbuffered.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import Problem
from server.web.access import Access

Answer = Callable[[str, Problem], Response]
"""Answers a problem on a path in the words of the dialect that owns the path."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",  # other sites' pages may show pictures
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
}


_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


class AccessMiddleware:
    """Lets through what ``Access`` lets through, and answers the rest itself."""

    def __init__(self, app: ASGIApp, access: Access, answer: Answer) -> None:
        self.app, self._access, self._answer = app, access, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            self._access.check(HTTPConnection(scope))
        except Problem as problem:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": problem.kind})  # answered with 403
            else:
                await self._answer(scope["path"], problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class HeadersMiddleware:
    """Tells browsers to load nothing from elsewhere and to guess no types."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                own = [header for header in _RAW_HEADERS if header[0] not in there]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class HeadMiddleware:
    """Answers HEAD on every route that takes GET, with the headers that GET would get."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        with anyio.CancelScope() as answering:  # a stream would last as long as its job

            async def send_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                    answering.cancel()

            await self.app(as_get, receive, send_headers)
        scope.update(as_get, method="HEAD")  # the log reads the route and the caller from it


class BodyTooLarge(HTTPException):
    """The body is too large. An HTTPException, because FastAPI lets no other error pass while it reads a body."""


class BodyLimitMiddleware:
    """Refuses bodies of more than ``limit`` bytes, by their Content-Length or as they come.

    Starlette's own limit would not do: it runs the route before it looks at the Content-Length, so that a call that is
    refused may still have an effect, and it answers in plain text instead of the dialect's words.
    """

    def __init__(self, app: ASGIApp, limit: int, answer: Answer) -> None:
        self.app, self._limit, self._answer = app, limit, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = HTTPConnection(scope).headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limit:
            await self._answer(scope["path"], too_large(self._limit))(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise BodyTooLarge(413, too_large(self._limit).detail)
            return message

        await self.app(scope, counted, send)


def too_large(limit: int) -> Problem:
    """Return the 413 for a body of more than ``limit`` bytes."""
    return Problem(
        status=413,
        kind="body_too_large",
        title="Body too large",
        detail=f"the request body is larger than {limit} bytes (SD_MAX_BODY_BYTES)",
        headers={"Connection": "close"},
    )
