"""This dialect's errors in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from server.dialects.native.answers import ProblemAnswer

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


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the ``responses`` of a route that may answer with ``statuses``."""
    schema = {"$ref": f"#/components/schemas/{ProblemAnswer.__name__}"}
    return {
        status: {"description": _WHEN[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
