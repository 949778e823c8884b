"""Errors that stand for several mistakes."""

from __future__ import annotations

from engine.errors import MOST_SAID, BadRequest


def mistake(field: str) -> BadRequest:
    return BadRequest(field, 1, "2")


def test_mistakes_that_were_found_together_stay_together() -> None:
    several = BadRequest.together([mistake("a"), mistake("b")])
    whole = BadRequest.together([mistake("c"), several, mistake("a")])
    assert [each.field for each in whole.all] == ["c", "a", "b"]
    assert str(whole) == "; and ".join(mistake(field).alone for field in "cab")
    assert [each.field for each in whole.renamed(str.upper).all] == ["C", "A", "B"]


def test_a_message_says_the_first_mistakes_and_counts_the_rest() -> None:
    whole = BadRequest.together([mistake(str(number)) for number in range(MOST_SAID + 3)])
    assert len(whole.all) == MOST_SAID + 3
    assert str(whole).endswith("; and 3 more")
