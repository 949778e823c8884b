"""What every kind of parameter can do: check a value, describe it, and read and write it.

This module knows no kind in particular.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from engine.errors import BadRequest


class Kind(ABC):
    """A kind of value: what is allowed, and how a value is read from text and JSON and written to JSON.

    ``from_text`` and ``from_json`` pass on what they cannot read, so that ``check`` refuses it under its field's name.
    """

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The values that are allowed, in words that follow "expected"."""

    @abstractmethod
    def check(self, name: str, value: object) -> Any:
        """Return ``value`` in its Python type. Raises ``BadRequest``, with ``name`` as its field, if it is not allowed.

        The value must have its Python type already, give or take a NumPy scalar or a list for a tuple: text is no
        number here, and 2.0 is no whole number.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the values, without title, default and description."""

    def from_text(self, text: str) -> object:
        """Return the value that a command line's or a query's text spells, or the text itself if it spells none."""
        return text

    def from_json(self, value: object) -> object:
        """Return the value that a JSON value stands for, or the JSON value itself if it stands for none."""
        return value

    def to_json(self, value: Any) -> object:
        """Return a checked value as JSON from which ``from_json`` gives an equal value."""
        return value

    def read(self, name: str, value: object) -> Any:
        """Return the checked value that a JSON value stands for. Raises ``BadRequest`` with ``name`` as its field."""
        try:
            value = self.from_json(value)
        except BadRequest as error:
            raise placed(name, error) from None
        return self.check(name, value)


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Put ``place`` before the field of every ``BadRequest`` raised inside: ``strength`` → ``loras[0].strength``."""
    try:
        yield
    except BadRequest as error:
        raise placed(place, error) from None


def placed(place: str, error: BadRequest) -> BadRequest:
    """Return ``error``, and what was found with it, with ``place`` before their fields."""
    return error.renamed(lambda field: f"{place}{'' if field.startswith('[') else '.'}{field}")


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema that allows null beside what ``schema`` allows."""
    if "anyOf" in schema:
        without = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return schema | {"anyOf": [*without, {"type": "null"}]}
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    choices = {"enum": [*(each for each in schema["enum"] if each is not None), None]} if "enum" in schema else {}
    return schema | {"type": [*(each for each in types if each != "null"), "null"]} | choices
