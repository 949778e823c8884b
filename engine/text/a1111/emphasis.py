r"""The weights in a prompt of AUTOMATIC1111: ``(words)``, ``(words:1.3)``, ``[words]``; nested ones multiply.

Knows no tokens.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

from engine.errors import BadRequest

BREAK = "BREAK"
BREAK_WEIGHT = -1.0
"""The weight of the text ``BREAK`` where it ends a chunk. Brackets around it change that, and it is a word then."""

_MORE = 1.1
_LESS = 1 / 1.1
_TOKEN = re.compile(
    r"""
    \\(?P<escaped>[\\()\[\]]?)                # a backslash that escapes nothing vanishes
    | :\s*(?P<weight>[+-]?[.\d]+)\s*\)
    | (?P<bracket>[()\[\]])
    | [^\\()\[\]:]+ | :
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")

Weighted: TypeAlias = tuple[str, float]


def weighted(text: str, field: str = "text") -> tuple[Weighted, ...]:
    r"""Return the words of ``text`` and their weights, at least one pair; neighbours of equal weight are one.

    ``( )`` multiplies by 1.1, ``[ ]`` divides by it, ``(x:w)`` multiplies by w. Round and square brackets are matched
    apart; an unclosed one holds to the end, an unopened one is text, and ``\(`` is the sign. ``BREAK`` is a pair of its
    own with the weight ``BREAK_WEIGHT``. Raises ``BadRequest``, naming ``field``, for weights that are no finite
    numbers.
    """
    words: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for token in _TOKEN.finditer(text):
        bracket, number = token["bracket"], token["weight"]
        if bracket in opened:
            opened[bracket].append(len(words))
        elif number is not None and opened["("]:
            multiply(opened["("].pop(), _number(number, field))
        elif bracket == ")" and opened["("]:
            multiply(opened["("].pop(), _MORE)
        elif bracket == "]" and opened["["]:
            multiply(opened["["].pop(), _LESS)
        elif token["escaped"] is not None:
            words.append(token["escaped"])
            weights.append(1.0)
        else:
            first, *others = _BREAK.split(token[0])
            words += [first, *(word for other in others for word in (BREAK, other))]
            weights += [1.0, *(BREAK_WEIGHT, 1.0) * len(others)]
    for bracket, factor in (("(", _MORE), ("[", _LESS)):
        for start in opened[bracket]:
            multiply(start, factor)
    if not all(map(math.isfinite, weights)):
        raise BadRequest(field, text, "finite weights")
    return tuple(_merged(words, weights)) or (("", 1.0),)


def _merged(words: list[str], weights: list[float]) -> list[Weighted]:
    merged: list[Weighted] = []
    for word, weight in zip(words, weights, strict=True):
        if merged and merged[-1][1] == weight:
            merged[-1] = merged[-1][0] + word, weight
        else:
            merged.append((word, weight))
    return merged


def _number(weight: str, field: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise BadRequest(field, weight, "a number as weight") from None
