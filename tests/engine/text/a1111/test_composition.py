"""Prompts that ``AND`` joins, with weights; comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.a1111.composition import Part, joined, parts_of, without_comments


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("", [("", 1.0)]),
        ("a cat AND a dog :0.7", [("a cat", 1.0), (" a dog", 0.7)]),
        ("a cat :1.15 AND a dog: -.4 ", [("a cat", 1.15), (" a dog", -0.4)]),
        ("a:1.3 AND (b:1.2) :0.8 AND c", [("a", 1.3), (" (b:1.2)", 0.8), (" c", 1.0)]),
        ("a cat :1.3", [("a cat", 1.3)]),
        ("a cat AND", [("a cat", 1.0), ("", 1.0)]),
        ("a\nAND b:2.\nAND c", [("a", 1.0), (" b", 2.0), (" c", 1.0)]),
        ("black and white BRAND", [("black and white BRAND", 1.0)]),
        ("(a:1.3) AND b:c", [("(a:1.3)", 1.0), (" b:c", 1.0)]),
    ],
)
def test_a_prompt_has_parts_with_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert [(part.text, part.weight) for part in parts_of(prompt)] == parts


@given(st.text(alphabet="ANDab :.1-()\n", max_size=30))
def test_parts_are_written_and_read_again(prompt: str) -> None:
    parts = parts_of(prompt)
    again = parts_of(joined(parts))
    assert [(part.text.strip(), part.weight) for part in again] == [(part.text.strip(), part.weight) for part in parts]


def test_parts_that_a_program_made_are_kept_apart() -> None:
    assert [part.text.strip() for part in parts_of(joined([Part(text="a"), Part(text="b")]))] == ["a", "b"]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("cat # dog\nmat", "cat \nmat"),
        ("# all of it", ""),
        ("# the first\nthe second", "the second"),
        ("a # b\n# c\nd", "a \nd"),
        ("a\n\nb", "a\n\nb"),
    ],
)
def test_comments_are_cut(prompt: str, words: str) -> None:
    assert without_comments(prompt) == words
