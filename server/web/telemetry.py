"""A log line and a measurement for each HTTP request, and an answer where an unexpected error reaches the top."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.observing.logs import request_id
from server.observing.metrics import Metrics
from server.web.access import PROBES
from server.web.errors import problem_of_error
from server.web.middleware import Answer

log = logging.getLogger(__name__)

_ID = re.compile(r"[\w.-]{1,64}")
_CLIENT_CLOSED = 499
"""The status in the log where the caller did not wait for the answer."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = PROBES | {"/metrics"}


class TelemetryMiddleware:
    """The outermost middleware: it sees every request and every error."""

    def __init__(self, app: ASGIApp, metrics: Metrics, answer: Answer) -> None:
        self.app, self._metrics, self._answer = app, metrics, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        token = request_id.set(given if _ID.fullmatch(given) else secrets.token_hex(6))
        started, status, job = time.perf_counter(), 0, None

        async def seen(message: Message) -> None:
            nonlocal status, job
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id.get() or ""
                job = headers.get("x-job-id")
            await send(message)

        try:
            await self.app(scope, receive, seen)
        except ClientDisconnect:
            status = _CLIENT_CLOSED
        except Exception as error:
            log.exception("internal error: %s", type(error).__name__, extra={"path": scope["path"]})
            if status:
                raise  # the answer has started: the connection breaks
            await self._answer(scope["path"], problem_of_error(error))(scope, receive, seen)
        finally:
            self._note(scope, status, time.perf_counter() - started, job)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float, job: str | None) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http(method, route, status, seconds)
        level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
        if log.isEnabledFor(level):
            details = {"status": status, "seconds": seconds, "client": _client(scope), "job": job}
            log.log(level, "%s %s", scope["method"], scope["path"], extra=details)


def _client(scope: Scope) -> str | None:
    name: str | None = scope.get("state", {}).get("key_name")
    return name or (scope["client"][0] if scope.get("client") else None)
