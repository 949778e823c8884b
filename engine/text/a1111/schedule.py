"""A prompt of AUTOMATIC1111 → which text counts at which evaluation: ``[from:to:when]`` and ``[a|b]``.

Knows no weights: their brackets stay in the texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from engine.errors import BadRequest

MAX_NESTING = 100

_PLAIN = re.compile(r"(?:[^\\\[\]():|]|\\.)+")
_WHEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One text of a schedule."""

    last: int
    """The last evaluation that it is for, counted from 0."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How a prompt's numbers are read."""

    steps: int
    """Evaluations of the sampling."""
    before: int = 0
    """Evaluations of the pass before it, which numbers count too; 0 where there is none.

    In a second pass ``[a:b:1.5]`` changes at its half, and ``[a:b:30]`` ten evaluations after a first pass of 20.
    """
    old: bool = False
    """Whether numbers are read as before version 1.6: below 1 a share, whatever its sign, else a count; both passes
    follow the schedule of the first."""

    @property
    def length(self) -> int:
        """The evaluations that the schedule is made for."""
        return self.before if self.old and self.before else self.steps

    def evaluation(self, when: str) -> int:
        """The evaluation that a number means: with a point a share of all, else their count."""
        value = float(when)
        if self.old:
            value *= self.length if value < 1 else 1
        elif "." in when:
            value = (value - (1 if self.before else 0)) * self.steps
        else:
            value -= self.before
        return int(max(-1.0, min(self.length, value)))


@dataclass(frozen=True, kw_only=True)
class _Edit:
    """``[from:to:when]``."""

    before: _Text
    after: _Text
    when: str


@dataclass(frozen=True, kw_only=True)
class _Turns:
    """``[a|b]``."""

    choices: tuple[_Text, ...]


_Text: TypeAlias = tuple["str | _Edit | _Turns", ...]


def entries_of(text: str, timing: Timing, field: str = "text") -> tuple[Entry, ...]:
    """Return the texts of a prompt, at least one, in the order in which they count.

    An entry counts from the evaluation behind the last one of the entry before. ``[a|b]`` takes turns from one
    evaluation to the next; as there, the first word has two turns. Brackets that are neither are left for weights; a
    text with a stray ``|`` has no schedule at all. Raises ``BadRequest``, naming ``field``, for brackets more than 100
    deep.
    """
    read = _Reader(text, field).read()
    ends = {timing.length}
    for piece in _pieces(read):
        if isinstance(piece, _Turns):
            ends.update(range(1, timing.length + 1))
        elif (end := timing.evaluation(piece.when)) >= 1:
            ends.add(end)
    return tuple(Entry(last=end, text=_at(read, end, timing)) for end in sorted(ends))


def _pieces(text: _Text) -> Iterator[_Edit | _Turns]:
    for piece in text:
        if isinstance(piece, _Edit):
            yield piece
            yield from _pieces(piece.before)
            yield from _pieces(piece.after)
        elif isinstance(piece, _Turns):
            yield piece
            for choice in piece.choices:
                yield from _pieces(choice)


def _at(text: _Text, end: int, timing: Timing) -> str:
    """The words that count up to the evaluation ``end``."""
    words = []
    for piece in text:
        if isinstance(piece, _Edit):
            words.append(_at(piece.before if end <= timing.evaluation(piece.when) else piece.after, end, timing))
        elif isinstance(piece, _Turns):
            words.append(_at(piece.choices[(end - 1) % len(piece.choices)], end, timing))
        else:
            words.append(piece)
    return "".join(words)


_Read: TypeAlias = "tuple[_Text, int] | None"
"""What was read, and where it ends; None where there is no such thing."""


class _Reader:
    """Reads the brackets of one text, each once. What begins as a bracket and does not end as one is plain text."""

    def __init__(self, text: str, field: str) -> None:
        self._text = text
        self._field = field
        self._known: dict[int, _Read] = {}

    def read(self) -> _Text:
        pieces: list[str | _Edit | _Turns] = []
        at = 0
        while at < len(self._text):
            if (found := self._bracket(at, 0)) is not None:
                pieces += found[0]
                at = found[1]
            elif plain := _PLAIN.match(self._text, at):
                pieces.append(plain[0])
                at = plain.end()
            elif self._text[at] in "[]():":
                pieces.append(self._text[at])
                at += 1
            else:  # a stray | or a backslash before nothing: there the whole text is plain
                return (self._text,)
        return tuple(pieces)

    def _words(self, at: int, depth: int) -> tuple[_Text, int]:
        """The text up to a sign that is neither plain nor opens a bracket."""
        pieces: list[str | _Edit | _Turns] = []
        while True:
            if plain := _PLAIN.match(self._text, at):
                pieces.append(plain[0])
                at = plain.end()
            elif (found := self._bracket(at, depth)) is not None:
                pieces += found[0]
                at = found[1]
            else:
                return tuple(pieces), at

    def _bracket(self, at: int, depth: int) -> _Read:
        if self._text[at : at + 1] not in ("(", "["):
            return None
        if depth >= MAX_NESTING:
            raise BadRequest(self._field, self._text, f"brackets at most {MAX_NESTING} deep")
        if at not in self._known:
            kind: Callable[[int, int], _Read] = self._round if self._text[at] == "(" else self._square
            self._known[at] = kind(at + 1, depth + 1)
        return self._known[at]

    def _round(self, at: int, depth: int) -> _Read:
        """``(words)`` or ``(words:number)``."""
        words, end = self._words(at, depth)
        number: _Text = ()
        if self._sign(end) == ":":
            rest, end = self._words(end + 1, depth)
            number = (":", *rest)
        return (("(", *words, *number, ")"), end + 1) if self._sign(end) == ")" else None

    def _square(self, at: int, depth: int) -> _Read:
        """``[words]``, ``[from:to:when]``, ``[to:when]`` or ``[a|b]``."""
        first, end = self._words(at, depth)
        parts, sign = [first], self._sign(end)
        while sign and sign in ":|" and self._sign(end) == sign:
            when = _WHEN.match(self._text, end + 1) if sign == ":" and len(parts) <= 2 else None
            if when is not None:
                before, after = ((), parts[0]) if len(parts) == 1 else parts
                return (_Edit(before=before, after=after, when=when[1]),), when.end()
            part, end = self._words(end + 1, depth)
            parts.append(part)
        if self._sign(end) != "]" or sign == ":":
            return None
        return (("[", *first, "]") if sign == "]" else (_Turns(choices=tuple(parts)),)), end + 1

    def _sign(self, at: int) -> str:
        return self._text[at : at + 1]
