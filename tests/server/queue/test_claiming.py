"""Tests what the dispatcher remembers while a claim is under way, and after it."""

from __future__ import annotations

import pytest

from server.queue.claiming import Claiming


@pytest.mark.parametrize(
    ("events", "left", "after"),
    [
        ([], False, Claiming.EMPTY),
        ([], True, Claiming.QUEUED),
        (["slots"], False, Claiming.EMPTY),
        (["queued"], False, Claiming.QUEUED),
        (["slots", "queued"], False, Claiming.QUEUED),
        (["queued", "slots"], False, Claiming.QUEUED),
    ],
)
def test_what_happens_during_a_claim_is_remembered(events: list[str], left: bool, after: Claiming) -> None:
    state = Claiming.CLAIMING
    for event in events:
        state = state.when_queued() if event == "queued" else state.when_slots_change()
        assert state.under_way
        assert state is not Claiming.CLAIMING
    assert state.when_claimed(left=left) is after


def test_nothing_is_claimed_while_it_is_closed() -> None:
    assert Claiming.CLOSED.when_queued() is Claiming.CLOSED.when_slots_change() is Claiming.CLOSED
    assert Claiming.EMPTY.when_queued() is Claiming.QUEUED
    assert Claiming.EMPTY.when_slots_change() is Claiming.EMPTY
