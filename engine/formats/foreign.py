"""Values found in someone else's format → ``GenerationRequest``, with errors that name the place where they were found.

Knows that other programs write numbers as text or as 20.0; knows no format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from engine.errors import BadRequest
from engine.request import MAX_SEED, GenerationRequest

_NUMBERS = {field.name for field in dataclasses.fields(GenerationRequest) if isinstance(field.default, int | float)}
_LONGEST_NUMBER = 64


def number(value: object) -> object:
    """``value`` as the number it spells: "20" and 20.0 are 20. What is no number is left for the range check."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        for read in (int, float):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def request_from_places(found: Mapping[str, tuple[str, object]]) -> GenerationRequest:
    """A request from ``found``: a parameter's name → the place where it was found, and its value.

    A file names the seed that was used: null and -1, which ask for a fresh one elsewhere, are no seeds here.
    Raises ``BadRequest`` with the place as its field, and the range of ``GenerationRequest``.
    """
    values = {name: number(value) if name in _NUMBERS else value for name, (_, value) in found.items()}
    if "seed" in found and values["seed"] in (None, -1):
        raise BadRequest(found["seed"][0], values["seed"], f"a whole number from 0 to {MAX_SEED}")
    try:
        return GenerationRequest(**values)  # type: ignore[arg-type]  # the request checks every value itself
    except BadRequest as error:
        raise BadRequest(found[error.field][0], error.value, error.allowed) from None
