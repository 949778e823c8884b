"""Prompts in AUTOMATIC1111's syntax are translated into the engine's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.prompt import weighted
from server.dialects.sdapi.prompt import translated
from server.problems import Problem


def meant(prompt: str) -> list[tuple[str, float]]:
    """Return what the engine makes of a prompt, with neighbours of one weight joined."""
    joined: list[tuple[str, float]] = []
    for text, weight in weighted(prompt):
        if joined and math.isclose(joined[-1][1], weight, rel_tol=1e-6):
            joined[-1] = joined[-1][0] + text, joined[-1][1]
        elif text:
            joined.append((text, round(weight, 6)))
    return joined


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a cat, on a mat",
        "a (cat), (a mat:1.3), ((deep)) and \\(plain\\)",
        "(((deeper)))",
        "a clock at 12:30, score 3:2",
        "lower case and, break",
        "\n lines\n and  spaces ",
        "BREAKFAST, SAND",
    ],
)
def test_what_means_the_same_is_passed_on_as_it_came(prompt: str) -> None:
    assert translated(prompt, "prompt") == prompt


@pytest.mark.parametrize(
    ("prompt", "pairs"),
    [
        ("[cat]", [("cat", 1 / 1.1)]),
        ("a [[cat]] b", [("a ", 1), ("cat", 1 / 1.21), (" b", 1)]),
        ("((cat:1.3))", [("cat", 1.43)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("([cat])", [("cat", 1.0)]),
        ("(never closed", [("never closed", 1.1)]),
        ("never opened) then (b)", [("never opened) then ", 1), ("b", 1.1)]),
        ("a \\[b\\] \\\\", [("a [b] \\", 1)]),
        ("a\\b", [("ab", 1)]),
        ("(a\\\\:1.2)(b:1.3)", [("a\\", 1.2), ("b", 1.3)]),
        ("a\\\\(b:1.3)", [("a\\", 1), ("b", 1.3)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        ("[a:b]", [("a:b", 1 / 1.1)]),
        ("cat # dog\nmat", [("cat \nmat", 1)]),
        ("# all of it", []),
        ("# the first\nthe second", [("the second", 1)]),
        ("smile :) (b)", [("smile :) ", 1), ("b", 1.1)]),
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:+.5)", [("a", 0.5)]),
    ],
)
def test_other_meanings_are_written_anew(prompt: str, pairs: list[tuple[str, float]]) -> None:
    found = meant(translated(prompt, "prompt"))
    assert [text for text, _ in found] == [text for text, _ in pairs]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pairs], rel=1e-5)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a [cat:dog:0.5] b", "[cat:dog:0.5]"),
        ("[cat:10]", "[cat:10]"),
        ("[cat::5]", "[cat::5]"),
        ("[a (b:1.2) c:1e1 ]", "c:1e1"),
        ("[(x:1.2)|y]", "|y"),
        ("a [cat|dog]", "[cat|dog]"),
        ("a cat AND a dog", "AND"),
        ("a cat BREAK a dog", "BREAK"),
        ("<lora:style:0.8> a cat", "<lora:style:0.8>"),
        ("a cat <hypernet:style:1>", "<hypernet:style:1>"),
        ("(a:1..2)", "1..2"),
        ("(" * 101, "at most 100 deep"),
        ("(" * 45 + "a" + ":99999999)" * 45, "finite"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(prompt: str, named: str) -> None:
    with pytest.raises(Problem) as refused:
        translated(prompt, "prompt")
    assert refused.value.field == "prompt"
    assert named in refused.value.detail


def test_a_negative_prompt_has_no_and_and_no_networks_but_breaks() -> None:
    assert translated("black AND white <lora:x:1>", "negative_prompt") == "black AND white <lora:x:1>"
    with pytest.raises(Problem, match="negative_prompt: 'BREAK'"):
        translated("black BREAK white", "negative_prompt")


@given(st.text(alphabet="ab ()[]\\:|.1#\n", max_size=40))
def test_the_engine_can_read_whatever_comes_out(prompt: str) -> None:
    try:
        found = translated(prompt, "prompt")
    except Problem:
        return
    again = meant(found)
    if "[" not in found and "\\" not in found and "|" not in found:
        assert meant(translated(found, "prompt")) == again  # what is written means the same in both syntaxes


def test_a_long_prompt_takes_time_in_proportion() -> None:
    prompt = "(a [b] \\(c\\):1.1), " * 20_000
    assert len(translated(prompt, "prompt")) > len(prompt) / 2
