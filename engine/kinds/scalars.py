"""Kinds of single values: text, names, numbers, flags, choices and seeds.

This module knows no parameter by name, and no dialect.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.kinds.kind import Kind, nullable
from engine.tensors.kinds import FileKind

MAX_SEED = 2**64 - 1

_EXACT = 2**53
"""A float from here on, which includes each JavaScript number, stands for several whole numbers."""

_WHOLE_TEXT = re.compile(r"([+-]?[0-9]{1,64})(\.0*)?")
_NUMBER_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SEED_TEXT = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True)
class Text(Kind):
    """Unicode text of ``least`` to ``most`` characters, all of them printable if ``printable``."""

    least: int = 0
    most: int | None = None
    printable: bool = False

    @property
    def allowed(self) -> str:
        if self.most is None:
            return "text"
        return f"{self.least} to {self.most} {'printable ' if self.printable else ''}characters"

    def check(self, name: str, value: object) -> str:
        if not isinstance(value, str) or len(value) < self.least or (self.most is not None and len(value) > self.most):
            raise BadRequest(name, value, self.allowed)
        if self.printable and not value.isprintable():
            raise BadRequest(name, value, self.allowed)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"character {error.start} is half of a surrogate pair"
            raise BadRequest(name, value, f"Unicode text ({half})") from None
        return value

    def schema(self) -> dict[str, Any]:
        least = {"minLength": self.least} if self.least else {}
        return {"type": "string", **least, **({} if self.most is None else {"maxLength": self.most})}


@dataclass(frozen=True)
class Name(Kind):
    """The name of a file: text that is not empty and holds no NUL; or None, if ``optional``."""

    what: str = "the name of a file"
    optional: bool = True

    @property
    def allowed(self) -> str:
        return self.what

    def check(self, name: str, value: object) -> str | None:
        if value is None and self.optional:
            return None
        if not isinstance(value, str) or not value or "\0" in value:
            raise BadRequest(name, value, self.allowed)
        return Text().check(name, value)

    def schema(self) -> dict[str, Any]:
        described = {"type": "string", "minLength": 1}
        return nullable(described) if self.optional else described


@dataclass(frozen=True)
class FileName(Name):
    """The name of a file in the models folders, with ``/`` or ``\\`` behind subfolders; or a path."""

    folder: FileKind = "checkpoints"
    """What kind of file it is, by the name of ComfyUI's folder for it: ``checkpoints``, ``loras``, ``vae``, …"""


@dataclass(frozen=True)
class WholeNumber(Kind):
    """A whole number from ``low`` to ``high``, both included, that is divisible by ``multiple``."""

    low: int
    high: int
    multiple: int = 1

    @property
    def allowed(self) -> str:
        unit = f"a multiple of {self.multiple}" if self.multiple > 1 else "a whole number"
        return f"{unit} from {self.low} to {self.high}"

    def check(self, name: str, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise BadRequest(name, value, self.allowed) from None
        if isinstance(value, bool) or not self.low <= number <= self.high or number % self.multiple:
            raise BadRequest(name, value, self.allowed)
        return number

    def schema(self) -> dict[str, Any]:
        multiple = {"multipleOf": self.multiple} if self.multiple > 1 else {}
        return {"type": "integer", "minimum": self.low, "maximum": self.high, **multiple}

    def from_text(self, text: str) -> object:
        match = _WHOLE_TEXT.fullmatch(text.strip())
        return int(match[1]) if match else text

    def from_json(self, value: object) -> object:
        """Return 2 for 2.0; other values pass."""
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from ``low``, which is itself excluded if ``above_low``, to ``high``."""

    low: float
    high: float
    above_low: bool = False

    @property
    def allowed(self) -> str:
        start = f"above {self.low:g} up" if self.above_low else f"from {self.low:g}"
        return f"a number {start} to {self.high:g}"

    def check(self, name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, str | bytes | bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise BadRequest(name, value, self.allowed) from None
        if not self.low <= number <= self.high or (self.above_low and number == self.low):
            raise BadRequest(name, value, self.allowed)
        return number

    def schema(self) -> dict[str, Any]:
        low = {"exclusiveMinimum" if self.above_low else "minimum": self.low}
        return {"type": "number", **low, "maximum": self.high}

    def from_text(self, text: str) -> object:
        return float(text) if _NUMBER_TEXT.fullmatch(text.strip()) else text


@dataclass(frozen=True)
class Flag(Kind):
    """True or false; as text, also 1 or 0."""

    @property
    def allowed(self) -> str:
        return "true or false"

    def check(self, name: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise BadRequest(name, value, self.allowed)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def from_text(self, text: str) -> object:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)


@dataclass(frozen=True)
class OneOf(Kind):
    """One of the texts in ``choices``."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def check(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise BadRequest(name, value, self.allowed)
        if value not in self.choices:
            nearest = difflib.get_close_matches(value, self.choices, n=3, cutoff=0.5)
            hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
            raise BadRequest(name, value, self.allowed + hint)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True)
class Seed(Kind):
    """A whole number from 0 to 2⁶⁴−1; None, written as -1 or null too, asks for a fresh one, if ``optional``.

    In JSON a seed that a JavaScript number cannot hold is a text of digits.
    """

    optional: bool = True

    @property
    def allowed(self) -> str:
        fresh = ", or -1 or null for a fresh one" if self.optional else ""
        return f"a whole number from 0 to {MAX_SEED}{fresh}"

    def check(self, name: str, value: object) -> int | None:
        if value is None and self.optional:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) >= _EXACT:
            lost = "with a point or an exponent, numbers from 2^53 on have lost some"
            raise BadRequest(name, value, f"a seed with all its digits, as a whole number or as text ({lost})")
        try:
            number = WholeNumber(-1 if self.optional else 0, MAX_SEED).check(name, value)
        except BadRequest:
            raise BadRequest(name, value, self.allowed) from None
        return None if number == -1 else number

    def schema(self) -> dict[str, Any]:
        number = {"type": "integer", "minimum": -1 if self.optional else 0, "maximum": MAX_SEED}
        digits = {"type": "string", "pattern": r"^(-1|\d{1,20})$" if self.optional else r"^\d{1,20}$"}
        return nullable({"anyOf": [number, digits]}) if self.optional else {"anyOf": [number, digits]}

    def from_text(self, text: str) -> object:
        return None if self.optional and text.strip() == "null" else WholeNumber(0, MAX_SEED).from_text(text)

    def from_json(self, value: object) -> object:
        """Return 7 for 7.0 and for the text "7"; other values pass."""
        if isinstance(value, str):
            return int(value) if _SEED_TEXT.fullmatch(value) else value
        return WholeNumber(0, MAX_SEED).from_json(value)

    def to_json(self, value: int | None) -> object:
        return value if value is None or value < _EXACT else str(value)
