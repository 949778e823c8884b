"""Log lines have named values beside a message, one line for one event, whatever a caller sent."""

from __future__ import annotations

import json
import logging

import pytest

from server.observing.logs import JsonFormatter, TextFormatter, request_id


def record(message: str, **values: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "server.x", "levelname": "INFO", "msg": message, "created": 0.0, "msecs": 0.0, **values}
    )


def test_json_lines_hold_the_values_under_their_names() -> None:
    line = json.loads(JsonFormatter().format(record("job finished", job="a", seconds=1.5, nothing=None)))
    assert line == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "server.x",
        "message": "job finished",
        "job": "a",
        "seconds": 1.5,
    }


def test_text_lines_are_for_people() -> None:
    line = TextFormatter().format(record("job finished", job="a", seconds=1.23456))
    assert line == "1970-01-01T00:00:00.000Z info    job finished  job=a  seconds=1.235"


@pytest.mark.parametrize("form", [JsonFormatter(), TextFormatter()])
def test_what_a_caller_sent_stays_on_one_line(form: logging.Formatter) -> None:
    line = form.format(record("GET /a\nb", client="x\r\n1970 info forged", value=object()))
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("form", [JsonFormatter(), TextFormatter()])
def test_lines_during_a_request_bear_its_id(form: logging.Formatter) -> None:
    token = request_id.set("r1")
    try:
        assert "r1" in form.format(record("job accepted"))
    finally:
        request_id.reset(token)
    assert "r1" not in form.format(record("job accepted"))


@pytest.mark.parametrize("form", [JsonFormatter(), TextFormatter()])
def test_an_exception_is_logged_in_full(form: logging.Formatter) -> None:
    try:
        raise ValueError("the cause")
    except ValueError as error:
        line = form.format(record("a defect", exc_info=(ValueError, error, error.__traceback__)))
    assert "the cause" in line
    assert "test_logs" in line
