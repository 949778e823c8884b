"""Readers of JSON bodies. Knows no dialect and no parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from engine import BadRequest
from engine.formats.json_text import read_json

_LONGEST_REASON = 200
"""Characters of the parser's own message, which may hold the caller's text."""

Model = TypeVar("Model", bound=BaseModel)


async def json_object(http: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Read the body, whatever its Content-Type: many clients send none, and curl sends that of a form.

    ``may_be_empty``: whether an empty body stands for ``{}``. Raises ``BadRequest`` for anything but a JSON object.
    """
    text = await http.body()
    if may_be_empty and not text.strip():
        return {}
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise BadRequest("body", "text that is not JSON", f"a JSON object ({str(error)[:_LONGEST_REASON]})") from None
    if not isinstance(parsed, dict):
        raise BadRequest("body", parsed, "a JSON object")
    return parsed


async def body_as(model: type[Model], http: Request) -> Model:
    """Read the body as a ``model``. Raises ``RequestValidationError``, and ``BadRequest`` for no JSON object."""
    values = await json_object(http)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def json_body(schema: Mapping[str, Any], *, required: bool = True, **described: Any) -> dict[str, Any]:
    """Describe a body of ``schema`` for OpenAPI. ``described``: ``example`` or ``examples``."""
    content = {"application/json": {"schema": dict(schema), **described}}
    return {"requestBody": {"required": required, "content": content}}
