"""Values found in another program's file → ``GenerationRequest``, with errors that name where the value was found.

This module knows that other programs write numbers as text or as 20.0; it knows no format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.parameters import Kind, Seed, parameters_of, within
from engine.request import GenerationRequest

_KINDS: Mapping[str, Kind] = {
    name: Seed(optional=False) if isinstance(each.kind, Seed) else each.kind
    for name, each in parameters_of(GenerationRequest).items()
}
"""A file names the seed that was used: null and -1, which ask for a fresh seed elsewhere, are no seeds here."""


def foreign_value(kind: Kind, value: object) -> object:
    """Return the value of ``kind`` that ``value`` stands for: the text "20" and 20.0 are the whole number 20.

    What stands for none is returned as it is, for ``kind.check`` to refuse.
    """
    return kind.from_text(value) if isinstance(value, str) else kind.from_json(value)


def request_from_places(found: Mapping[str, tuple[str, object]]) -> GenerationRequest:
    """Return the request that ``found`` holds: a parameter's name → the place where its value was found, and the value.

    Raises ``BadRequest`` with the place as its field for a value that ``GenerationRequest`` does not allow.
    """
    values: dict[str, Any] = {}
    for name, (place, value) in found.items():
        with within(place):
            read = foreign_value(_KINDS[name], value)
        values[name] = _KINDS[name].check(place, read)
    return GenerationRequest(**values)
