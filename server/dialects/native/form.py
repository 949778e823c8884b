"""What a form for the native API's call needs to know of each field, from the table of parameters that the API has.

The page carries it, so that it can draw its form before it asks the server anything.
"""

from __future__ import annotations

from typing import Any

from engine.formats.infotext import SAMPLER_LABELS, SCHEDULER_LABELS
from server.dialects.native.parameters import schema

_FACTS = ("default", "description", "minimum", "exclusiveMinimum", "maximum", "multipleOf")
_LABELS = {"sampler": SAMPLER_LABELS, "scheduler": SCHEDULER_LABELS}
"""Fields whose choices have names that people know."""
_LEFT_OUT = ("async", "response_format", "webhook_url", "webhook_events", "idempotency_key")


def form_fields(most: int) -> dict[str, dict[str, Any]]:
    """Return each parameter with its default, its description, and its range or its ``choices`` with their labels.

    ``most``: the most pictures that a job may have.
    """
    fields = schema(most)["properties"]
    return {name: _field(name, described) for name, described in fields.items() if name not in _LEFT_OUT}


def _field(name: str, described: dict[str, Any]) -> dict[str, Any]:
    field = {fact: described[fact] for fact in _FACTS if fact in described}
    if isinstance(field["default"], int) and name == "seed":
        field["default"] = str(field["default"])  # which JavaScript could not hold as a number
    if "enum" in described:
        labels = _LABELS.get(name, {})
        field["choices"] = {value: labels.get(value, value) for value in described["enum"]}
    return field
