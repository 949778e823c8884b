"""A prompt of AUTOMATIC1111 → the parts that ``AND`` joins, and back; and comments, which are no part of it.

Each part is a prompt of its own, which guidance follows with a weight of its own (Liu et al. 2022, arXiv 2206.01714).
Knows nothing of what is in a part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r":\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a prompt."""

    text: str
    weight: float = 1.0
    """How much guidance towards it counts; below 0 leads away from it."""


def parts_of(prompt: str) -> tuple[Part, ...]:
    """Return the parts of a positive prompt, at least one: ``a cat AND a dog :0.7``.

    A number behind a colon at a part's end is its weight, also where there is only one part. In a negative prompt
    AUTOMATIC1111 takes ``AND`` for a word.
    """
    return tuple(map(_part, _AND.split(prompt)))


def joined(parts: Sequence[Part]) -> str:
    """Return the prompt whose ``parts_of`` are ``parts``, but for blanks at the ends of their texts."""
    texts = [part.text if _is_plain(part) else f"{part.text} :{part.weight!r}" for part in parts]
    return " AND".join(texts[:1] + [f" {text}" if text[:1].isalnum() else text for text in texts[1:]])


def without_comments(prompt: str) -> str:
    """Return ``prompt`` without comments, which reach from a ``#`` to the end of its line; a line that is a comment
    goes with its end."""
    lines = prompt.split("\n")
    kept = [line.partition("#")[0] for line in lines]
    return "\n".join(text for text, line in zip(kept, lines, strict=True) if text or not line.startswith("#"))


def _part(text: str) -> Part:
    before, _, _ = text.rpartition(":")
    found = _WEIGHT.fullmatch(text, len(before))
    return Part(text=before.rstrip(), weight=float(found[1])) if found else Part(text=text.rstrip())


def _is_plain(part: Part) -> bool:
    return part.weight == 1 and _part(part.text) == part
