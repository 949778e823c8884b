"""Reads JSON that comes from outside, within limits that keep reading and writing it quick. Knows no field."""

from __future__ import annotations

import json
from collections.abc import Callable

MOST_VALUES = 250_000
DEEPEST = 100
_SHORT = 2**18
"""A text of up to this many characters is read within a twentieth of a second, whatever it holds."""


def read_json(text: str | bytes | bytearray, *, constant: Callable[[str], object] | None = None) -> object:
    """Return what ``text`` says; ``constant`` makes a value of NaN, Infinity and -Infinity. Strings may be long.

    Raises ``ValueError``, whose text says what is wrong, for what is not JSON, lists and objects in more than 100
    layers, and a long text with more than 250,000 values, a comma in a string counted as one.
    """
    if len(text) > _SHORT and _values(text) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values")
    too_deep = ValueError(f"nested more than {DEEPEST} deep")
    try:
        found = json.loads(text, parse_constant=constant)
    except RecursionError:
        raise too_deep from None
    if _deeper(found, DEEPEST):
        raise too_deep
    return found


def _values(text: str | bytes | bytearray) -> int:
    """Return at least the number of values: each but the first comes after one of the marks that are counted."""
    if isinstance(text, str):
        return sum(text.count(mark) for mark in "[{,")
    return sum(text.count(mark) for mark in (b"[", b"{", b","))


def _deeper(value: object, layers: int) -> bool:
    """Whether ``value`` has more than ``layers`` layers of lists and objects."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return layers == 0 or any(_deeper(each, layers - 1) for each in inner)
