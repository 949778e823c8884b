"""This dialect's bodies, queries and errors in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from server.dialects.native.answers import ProblemAnswer
from server.dialects.native.examples import GENERATE, WORKFLOW
from server.dialects.native.parameters import schema

_WHEN = {
    400: "a parameter is not allowed; the answer names it, its value and what is allowed",
    401: "an API key is needed",
    403: "the Host or the Origin is not allowed",
    404: "not found",
    409: "the idempotency key belongs to another request, the id is taken, or the job was cancelled",
    410: "the pictures are no longer kept",
    413: "the body is larger than the settings allow, or the workflow is too large to be kept",
    422: "the checkpoint's file cannot be used, or a workflow is no single request and has parameters beside it",
    429: "the queue is full; Retry-After says when to come back",
    500: "this request could not be computed",
    503: "the server is shutting down, or not ready yet",
    507: "the device's memory or the server's disk does not suffice",
}


_BYTES = {"type": "string", "format": "binary"}
FILE_CONTENT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object"}, "examples": WORKFLOW},
    "image/png": {"schema": _BYTES},
    "image/jpeg": {"schema": _BYTES},
    "image/webp": {"schema": _BYTES},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"workflow": {**_BYTES, "description": "the file: a workflow, or a PNG that contains one"}},
            "required": ["workflow"],
            "additionalProperties": {**_BYTES, "description": "a picture, by the name by which the workflow loads it"},
        }
    },
}
"""The content of a body that is a workflow's file."""


def call_content(most: int) -> dict[str, Any]:
    """Describe the content of a call's body: JSON, or a form with pictures. ``most``: as ``schema`` takes it."""
    described = schema(most)
    pictures = {
        name: {**_BYTES, "description": described["properties"][name]["description"]} for name in ("image", "mask")
    }
    whole = {"type": "object", "description": "parameters as one JSON object, in place of parts of their own"}
    form = {**described, "properties": {**described["properties"], **pictures, "request": whole}}
    return {
        "application/json": {"schema": described, "examples": GENERATE},
        "multipart/form-data": {"schema": form},
    }


def query_parameters(most: int) -> list[dict[str, Any]]:
    """Describe a call's parameters as those of a query."""
    return [
        {"name": name, "in": "query", "schema": described, "explode": False, "style": "form"}
        for name, described in schema(most)["properties"].items()
    ]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the ``responses`` of a route that may answer with ``statuses``."""
    schema = {"$ref": f"#/components/schemas/{ProblemAnswer.__name__}"}
    return {
        status: {"description": _WHEN[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
