"""Prompts that change on the way: which text counts up to which evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.text.a1111.schedule import Timing, entries_of

TEN = Timing(steps=10)


def entries(text: str, timing: Timing = TEN) -> list[tuple[int, str]]:
    return [(entry.last, entry.text) for entry in entries_of(text, timing)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (cat:1.2) [b]", [(10, "a (cat:1.2) [b]")]),
        ("[a:b:0.5] c", [(5, "a c"), (10, "b c")]),
        ("[a:b:4] c", [(4, "a c"), (10, "b c")]),
        ("[a:4] c", [(4, " c"), (10, "a c")]),
        ("[:a:4] c", [(4, " c"), (10, "a c")]),
        ("[a::4] c", [(4, "a c"), (10, " c")]),
        ("[ a : b : 4 ]", [(4, " a "), (10, " b ")]),
        ("[a:b:.5]", [(5, "a"), (10, "b")]),
        ("[a:b:5.]", [(10, "a")]),
        ("[a:b:+0.4]", [(4, "a"), (10, "b")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:1]", [(1, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:-2]", [(10, "b")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:-1e999]", [(10, "b")]),
        ("[a:[b:c:7]:4]", [(4, "a"), (7, "b"), (10, "c")]),
        ("[[a:b:4]:c:7]", [(4, "a"), (7, "b"), (10, "c")]),
        ("[a:b:4] [c:d:7]", [(4, "a c"), (7, "b c"), (10, "b d")]),
        ("[(a:1.3):[b]:4]", [(4, "(a:1.3)"), (10, "[b]")]),
        ("([a:b:4]:1.3)", [(4, "(a:1.3)"), (10, "(b:1.3)")]),
        ("[a\\::b:4] \\[c\\]", [(4, "a\\: \\[c\\]"), (10, "b \\[c\\]")]),
        ("[a BREAK b:c:4]", [(4, "a BREAK b"), (10, "c")]),
    ],
)
def test_a_text_is_edited(text: str, expected: list[tuple[int, str]]) -> None:
    assert entries(text) == expected


@pytest.mark.parametrize("text", ["[a:b:x]", "[a:b:4 c", "[a:b:c:4]", "a:b", "a)b]", "[a:b|c]", "a|b [c:d:4]", "a\\"])
def test_what_the_grammar_does_not_know_is_text(text: str) -> None:
    assert entries(text) == [(10, text)]


def test_words_take_turns() -> None:
    four = Timing(steps=4)
    assert entries("[a|b|] c", four) == [(1, "a c"), (2, "b c"), (3, " c"), (4, "a c")]
    assert entries("[fe|]male", four)[:2] == [(1, "female"), (2, "male")]
    assert entries("[a|[b:c:3]]", four) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]


def test_numbers_of_a_second_pass_count_the_first() -> None:
    second = Timing(steps=6, before=10)
    assert entries("[a:b:0.5] [c:d:1.5]", second) == [(3, "b c"), (6, "b d")]
    assert entries("[a:b:4] [c:d:13]", second) == [(3, "b c"), (6, "b d")]


def test_brackets_more_than_100_deep_are_refused() -> None:
    assert len(entries("[" * 100 + "a" + "]" * 100)) == 1
    with pytest.raises(BadRequest, match="100 deep"):
        entries("(" * 101)


@given(st.text(alphabet="ab[]():|\\.1 \n", max_size=40), st.integers(1, 12))
def test_every_text_has_entries_up_to_its_last_evaluation(text: str, steps: int) -> None:
    found = entries(text, Timing(steps=steps))
    lasts = [last for last, _ in found]
    assert lasts == sorted(set(lasts))
    assert (lasts[0] >= 1, lasts[-1]) == (True, steps)
    if not set(text) & set("[|"):
        assert found == [(steps, text)]


def test_a_long_text_takes_time_in_proportion() -> None:
    text = "([a:b:4] c [d|e] f:1.1), " * 10_000
    assert len(entries(text)) == 10
    assert entries("[a:b) " * 10_000) == [(10, "[a:b) " * 10_000)]
