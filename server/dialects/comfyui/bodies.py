"""JSON bodies as ComfyUI's clients send them: under any content type, or none. Knows no route."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from engine.formats.json_text import read_json
from engine.parameters import Flag
from server.problems import Problem, bad_request

_LONGEST_ID = 128
_MOST_IDS = 1000


async def json_object(http: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the body, a JSON object that can be stored and sent back. Raises ``Problem``.

    NaN and infinity, which Python writes and reads beyond the standard, become their names as text: no answer could
    hold them, and no input takes either. Refused is what else no answer could hold: half of a surrogate pair, more
    layers or values than ``read_json`` takes.
    """
    text = await http.body()
    if may_be_empty and not text.strip():
        return {}
    try:
        body = read_json(text, constant=str)
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise _invalid(f"JSON ({str(error)[:200]})") from None
    if not isinstance(body, dict):
        raise _invalid(f"a JSON object, not {type(body).__name__}")
    return body


def flag(body: dict[str, Any], name: str) -> bool:
    """Return the value of a field that is true, false or absent, which is false."""
    value = body.get(name)
    if value is None:
        return False
    return Flag().check(name, value)


def id_list(body: dict[str, Any], name: str) -> list[str]:
    """Return the prompts' ids that a field lists; none if it is absent."""
    value = body.get(name)
    if value is None:
        return []
    valid = isinstance(value, list) and len(value) <= _MOST_IDS
    if not valid or not all(isinstance(each, str) and len(each) <= _LONGEST_ID for each in value):
        raise bad_request(name, value, f"a list of at most {_MOST_IDS} ids")
    ids: list[str] = value
    return ids


def done() -> JSONResponse:
    """Answer with an empty object where ComfyUI's answer is empty, because some of its clients parse it."""
    return JSONResponse({})


def _invalid(expected: str) -> Problem:
    return Problem(
        status=400, kind="invalid_json", title="Invalid body", detail=f"the request's body must be {expected}"
    )
