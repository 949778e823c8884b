"""Kinds made of other kinds: many values, and a value or none. (``engine.parameters.Object`` is the third.)

This module knows no kind that it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.formats.json_text import read_json
from engine.kinds.kind import Kind, nullable, placed


@dataclass(frozen=True)
class Many(Kind):
    """A tuple of ``least`` to ``most`` values of one kind; a list in JSON; in text, JSON or values between commas."""

    kind: Kind
    least: int = 0
    most: int | None = None

    @property
    def allowed(self) -> str:
        bounds = f" of at least {self.least}" if self.least else ""
        bounds += f"{' and' if bounds else ' of'} at most {self.most}" if self.most is not None else ""
        return f"a list{bounds}, each {self.kind.allowed}"

    def check(self, name: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise BadRequest(name, value, self.allowed)
        if len(value) < self.least or (self.most is not None and len(value) > self.most):
            raise BadRequest(name, value, self.allowed)
        checked, mistakes = [], list[BadRequest]()
        for place, each in enumerate(value):
            try:
                checked.append(self.kind.check(f"{name}[{place}]", each))
            except BadRequest as error:
                mistakes += error.all
        if mistakes:
            raise BadRequest.together(mistakes)
        return tuple(checked)

    def schema(self) -> dict[str, Any]:
        most = {} if self.most is None else {"maxItems": self.most}
        return {"type": "array", "items": self.kind.schema(), "minItems": self.least, **most}

    def from_text(self, text: str) -> object:
        if text.lstrip().startswith("["):
            return self.from_json(json_of_text(text))
        return tuple(self.kind.from_text(part.strip()) for part in text.split(",")) if text.strip() else ()

    def from_json(self, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        read, mistakes = [], list[BadRequest]()
        for place, each in enumerate(value):
            try:
                read.append(self.kind.from_json(each))
            except BadRequest as error:
                mistakes += placed(f"[{place}]", error).all
        if mistakes:
            raise BadRequest.together(mistakes)
        return tuple(read)

    def to_json(self, value: tuple[Any, ...]) -> object:
        return [self.kind.to_json(each) for each in value]


@dataclass(frozen=True)
class Optional(Kind):
    """A value of another kind, or None: null in JSON, and the word null in text."""

    kind: Kind

    @property
    def allowed(self) -> str:
        return f"{self.kind.allowed}; or null"

    def check(self, name: str, value: object) -> Any:
        return None if value is None else self.kind.check(name, value)

    def schema(self) -> dict[str, Any]:
        return nullable(self.kind.schema())

    def from_text(self, text: str) -> object:
        return None if text.strip() == "null" else self.kind.from_text(text)

    def from_json(self, value: object) -> object:
        return None if value is None else self.kind.from_json(value)

    def to_json(self, value: Any) -> object:
        return None if value is None else self.kind.to_json(value)


def json_of_text(text: str) -> object:
    """Return the JSON value in ``text``, or the text itself if it is not JSON."""
    try:
        return read_json(text)
    except ValueError:
        return text
