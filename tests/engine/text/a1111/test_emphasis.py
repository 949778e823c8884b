"""Weights in AUTOMATIC1111's prompts multiply, and BREAK stands between them."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.text.a1111.emphasis import weighted


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", [("", 1)]),
        ("()", [("", 1)]),
        ("a cat, on a mat", [("a cat, on a mat", 1)]),
        ("[cat]", [("cat", 1 / 1.1)]),
        ("a [[cat]] b", [("a ", 1), ("cat", 1 / 1.21), (" b", 1)]),
        ("((cat:1.3))", [("cat", 1.43)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("(never closed", [("never closed", 1.1)]),
        ("never opened) then (b)", [("never opened) then ", 1), ("b", 1.1)]),
        ("a \\[b\\] \\\\ \\x", [("a [b] \\ x", 1)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        ("[a:b]", [("a:b", 1 / 1.1)]),
        ("smile :) (b)", [("smile :) ", 1), ("b", 1.1)]),
        ("a:1.3) b", [("a:1.3) b", 1)]),
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:+.5)(b:-.5)", [("a", 0.5), ("b", -0.5)]),
        ("a BREAK b", [("a", 1), ("BREAK", -1), ("b", 1)]),
        ("BREAK", [("", 1), ("BREAK", -1), ("", 1)]),
        ("(a BREAK b)", [("a", 1.1), ("BREAK", -1.1), ("b", 1.1)]),
        ("a break BREAKS xBREAK", [("a break BREAKS xBREAK", 1)]),
    ],
)
def test_weights(text: str, pairs: list[tuple[str, float]]) -> None:
    found = weighted(text)
    assert [words for words, _ in found] == [words for words, _ in pairs]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pairs])


@pytest.mark.parametrize(("text", "named"), [("(a:1..2)", "1..2"), ("(" * 45 + "a" + ":99999999)" * 45, "finite")])
def test_weights_that_are_no_finite_numbers_are_refused(text: str, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        weighted(text, "prompt")


@given(st.text(alphabet="ab ()[]\\:1", max_size=40))
def test_every_text_has_finite_weights_and_neighbours_differ(text: str) -> None:
    try:
        found = weighted(text)
    except BadRequest:
        return
    assert all(math.isfinite(weight) for _, weight in found)
    assert all(one[1] != other[1] for one, other in itertools.pairwise(found))
