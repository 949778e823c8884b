"""This dialect's errors in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class InvalidField(BaseModel):
    """A field at fault."""

    field: str
    description: str


class ReplicateError(BaseModel):
    """Any error."""

    title: str
    detail: str
    status: int
    type: str
    invalid_fields: list[InvalidField]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the ``responses`` of a route that may answer with ``statuses``."""
    return {status: {"model": ReplicateError} for status in statuses}
