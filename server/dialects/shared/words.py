"""A caller's words → ``GenerationRequest``, with errors in the caller's words; and the same as JSON schemas.

For dialects that have few parameters of their own and take every parameter of ``GenerationRequest`` under its own name
beside them. Knows no dialect and no HTTP.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.request import MAX_SEED, Number, OneOf, WholeNumber
from server.backends.checkpoints import ModelInfo
from server.problems import Problem

PARAMETERS = {field.name: field for field in dataclasses.fields(GenerationRequest)}
Found = dict[str, tuple[str, object]]
"""A parameter's name → the caller's word for it, and its value."""

WHOLE = frozenset(
    name for name, field in PARAMETERS.items() if name == "seed" or isinstance(field.metadata["check"], WholeNumber)
)
"""The parameters that are whole numbers."""

_DIGITS = 20
"""Of the largest seed."""
_EXACT = 2**53
"""From here on a number with a point or an exponent stands for several whole ones."""


def unknown(word: str, known: Collection[str]) -> Problem:
    """400: ``word`` is none of ``known``. Never dropped in silence."""
    word = word[:80].encode("utf-8", "backslashreplace").decode()  # it may be half of a surrogate pair
    nearest = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"expected some of {', '.join(known)}"
    return Problem(
        status=400,
        kind="unknown_parameter",
        title="Unknown parameter",
        detail=f"{word}: there is no such parameter here, or it is not supported; {hint}",
        field=word,
    )


def find_parameters(given: Mapping[str, object], words: Mapping[str, str], place: str = "") -> Found:
    """The parameters in ``given``, where null means not given.

    ``words``: the dialect's words for parameters, beside their own names. ``place``: where ``given`` was found, such as
    ``input.``. Raises ``Problem`` for a word that is not known, and for two words for one parameter.
    """
    found: Found = {}
    for word, value in given.items():
        name = words.get(word, word)
        if name not in PARAMETERS:
            raise unknown(place + word, [*words, *(each for each in PARAMETERS if each not in words)])
        if value is None:
            continue
        if name in found:
            raise BadRequest(place + word, value, f"nothing beside {found[name][0]}, which says the same")
        found[name] = (place + word, value)
    return found


def ensure_known(found: Found, models: Iterable[ModelInfo]) -> None:
    """The model that is named, if one is, is one of ``models``. Raises ``UnknownCheckpoint`` with all of them."""
    word, value = found.get("model", ("", None))
    known = list(models)
    if isinstance(value, str) and not any(value in (info.name, info.file) for info in known):
        raise UnknownCheckpoint(word, value, f"one of {', '.join(info.name for info in known)}")


def request_from(found: Found) -> GenerationRequest:
    """The request; a seed that was not given stays to be drawn. Raises ``BadRequest`` in the caller's words."""
    values: dict[str, Any] = {name: whole(value) if name in WHOLE else value for name, (_, value) in found.items()}
    values["seed"] = seed_of(*found.get("seed", ("seed", None)))
    with worded(words_of(found)):
        return GenerationRequest(**values)


def words_of(found: Found) -> dict[str, str]:
    """A parameter's name → the caller's word for it."""
    return {name: word for name, (word, _) in found.items()}


@contextlib.contextmanager
def worded(words: Mapping[str, str]) -> Iterator[None]:
    """Errors from within name the caller's word for the parameter."""
    try:
        yield
    except BadRequest as error:
        if error.field not in words:
            raise
        raise type(error)(words[error.field], error.value, error.allowed) from None
    except Problem as problem:
        if problem.field is None or problem.field not in words:
            raise
        word, detail = words[problem.field], problem.detail.removeprefix(problem.field)
        raise dataclasses.replace(problem, field=word, detail=word + detail) from None


def in_a_row(request: GenerationRequest, count: int) -> tuple[GenerationRequest, ...]:
    """``count`` requests, number i with the seed + i; a seed that was not given is drawn."""
    first = request.with_seed()
    assert first.seed is not None
    seeds = [(first.seed + number) % (MAX_SEED + 1) for number in range(count)]
    return tuple(first if seed == first.seed else dataclasses.replace(first, seed=seed) for seed in seeds)


def whole(value: object) -> object:
    """``value`` as the whole number that it is, also where a caller's JSON has 2.0 for 2. What is none stays, to be
    refused by its name."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def seed_of(word: str, value: object) -> object:
    """As ``whole``. JavaScript cannot write every seed as a number: decimal digits in a text count too.

    Raises ``BadRequest`` on ``word`` for a number that has lost digits of the seed.
    """
    value = whole(value)
    if isinstance(value, float) and value.is_integer():
        lost = "with a point or an exponent, numbers from 2^53 on have lost some"
        raise BadRequest(word, value, f"a seed with all its digits, as a whole number or as text ({lost})")
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS:
            return int(value)
    return value


def schemas(words: Mapping[str, str], leave: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """The JSON schema of each word for a parameter and of each parameter's own name, but those in ``leave``."""
    described = {word: _schema(PARAMETERS[name]) for word, name in words.items()}
    return described | {
        name: _schema(field) for name, field in PARAMETERS.items() if name not in words and name not in leave
    }


def _schema(field: dataclasses.Field[Any]) -> dict[str, Any]:
    check, default = field.metadata["check"], None if field.name == "seed" else field.default
    described = {"default": default, "description": field.metadata["help"]}
    kind: dict[str, Any] = {"type": "string"}
    if field.name == "seed":
        described["description"] = "0 to 2^64-1, also as a text of digits; none, null or -1 draws a fresh one"
        kind = {"type": ["integer", "string"], "minimum": -1, "maximum": MAX_SEED, "pattern": r"^(-1|\d{1,20})$"}
    elif isinstance(check, WholeNumber):
        kind = {"type": "integer", "minimum": check.low, "maximum": check.high, "multipleOf": check.multiple}
    elif isinstance(check, Number):
        kind = {"type": "number", "exclusiveMinimum" if check.above_low else "minimum": check.low}
        kind["maximum"] = check.high
    elif isinstance(check, OneOf):
        kind = {"type": "string", "enum": [*check.choices, None]}
    types = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    return {**kind, "type": [*types, "null"], **described}
