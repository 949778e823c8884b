"""Writes log lines, as text for people or as JSON for machines: a message and named values, never a prompt.

Anything passed as ``extra`` to a logger becomes a named value: ``log.info("job finished", extra={"job": id})``.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The HTTP request that is being answered; its id is added to each line that is logged meanwhile."""

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send all log lines to standard error. Called once, by the process that serves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("server").setLevel(level.upper())
    logging.getLogger("engine").setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """Writes one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_values(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Writes time, level and message, then the values."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f"  {name}={_plain(value)}" for name, value in _values(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {_plain(record.getMessage())}{values}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _values(record: logging.LogRecord) -> dict[str, Any]:
    values = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
    if request_id.get() is not None:
        values.setdefault("request", request_id.get())
    return values


def _plain(value: object) -> str:
    """Return a value on one line: what a caller sent must not look like a line of the server's own."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else repr(text)
