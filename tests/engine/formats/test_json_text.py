"""JSON from outside: what is read, and what would take too long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.json_text import DEEPEST, MOST_VALUES, read_json

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_what_json_writes_is_read(value: Any) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value).encode()) == value


def nested(layers: int, opening: str, closing: str) -> str:
    return opening * layers + "1" + closing * layers


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_layers(opening: str, closing: str) -> None:
    most = DEEPEST // len([sign for sign in opening if sign in "[{"])
    read_json(nested(most, opening, closing))
    for layers in (most + 1, 955, 5000, 100_000):
        with pytest.raises(ValueError, match="nested more than 100 deep"):
            read_json(nested(layers, opening, closing))


def test_many_values_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_json("[" + "1," * (MOST_VALUES - 2) + "1]") == [1] * (MOST_VALUES - 1)
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was read"))
    for text in ("[" + "1," * MOST_VALUES + "1]", "[" + "[]," * MOST_VALUES + "1]", '{"a":1,' * MOST_VALUES):
        for form in (text, text.encode()):
            with pytest.raises(ValueError, match="values"):
                read_json(form)


def test_a_long_string_is_one_value() -> None:
    picture = "A" * 20_000_000
    assert read_json(json.dumps({"image": picture})) == {"image": picture}


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", b"\xff", b"\x80abc"])
def test_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def test_constants_are_the_callers_affair() -> None:
    assert read_json("[NaN, -Infinity]", constant=lambda name: name) == ["NaN", "-Infinity"]
