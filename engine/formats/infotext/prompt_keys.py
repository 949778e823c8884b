"""The keys of an infotext for how prompts in AUTOMATIC1111's language are read ⇄ the part of a request that says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.foreign import foreign_value
from engine.parameters import parameters_of, within
from engine.request_parts import PromptReading

OLD_TIMELINES = "Old prompt editing timelines"

_EMPHASIS = "Emphasis"
_EMPHASES: Mapping[str, str] = {
    "Original": "original",
    "No norm": "no_norm",
    "Ignore": "ignore",
    "None": "none",
}
_OTHERS: Mapping[str, str] = {
    OLD_TIMELINES: "old_schedules",
    "Old emphasis": "old_emphasis",
    "Comma padding backtrack": "comma_backtrack",
}
"""The last two are ours: AUTOMATIC1111 writes nothing of them."""

READING_KEYS = frozenset({_EMPHASIS, *_OTHERS})

_FIELDS = parameters_of(PromptReading)


def reading_of(pairs: Mapping[str, str]) -> PromptReading | None:
    """Return how prompts are read; None: by AUTOMATIC1111's defaults. Raises ``BadRequest``, naming the key."""
    label = pairs.get(_EMPHASIS, "Original")
    if label not in _EMPHASES:
        raise BadRequest(f"infotext {_EMPHASIS}", label, f"one of {', '.join(_EMPHASES)}")
    values: dict[str, Any] = {"emphasis": _EMPHASES[label]}
    for key, name in _OTHERS.items():
        if key in pairs:
            place = f"infotext {key}"
            with within(place):
                value = foreign_value(_FIELDS[name].kind, pairs[key])
            values[name] = _FIELDS[name].kind.check(place, value)
    reading = PromptReading(**values)
    return None if reading == PromptReading() else reading


def pairs_of_reading(reading: PromptReading | None) -> dict[str, Any]:
    """Return what an infotext says of how prompts are read; None stands for a key that it does not have."""
    if reading is None:
        return {}
    written = vars(reading)
    changed = {name: value if value != _FIELDS[name].default else None for name, value in written.items()}
    label = next((label for label, name in _EMPHASES.items() if name == changed["emphasis"]), None)
    return {_EMPHASIS: label, **{key: changed[name] for key, name in _OTHERS.items()}}
