"""What the OpenAPI document says of this dialect's errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class InvalidField(BaseModel):
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
    """The ``responses`` of a route that may answer with these."""
    return {status: {"model": ReplicateError} for status in statuses}
