"""Throughput is measured once a load is warm, by evaluations or by deliveries."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.measuring import callers
from benchmarks.measuring.throughput import Window, observe_window
from benchmarks.measuring.workloads import Mixed
from tests.benchmarks.benches import SCALE
from tests.benchmarks.fakes import FakeSubject, SteadySubject


def watch(subject: FakeSubject, clients: int = 16, **fields: Any) -> Window:
    defaults: dict[str, Any] = {"seconds": 0.2, "stagger": 0.1, "seed": 0, "quiet": 0.0, "patience": 5.0}
    subject.open()
    return observe_window(subject, Mixed(SCALE, 0), clients=clients, **(defaults | fields))


def test_measuring_starts_when_the_subject_prepares_nothing_more() -> None:
    found = watch(SteadySubject(hurdles=3, interval=0.2), quiet=0.4)
    assert found.quiet
    assert 0.3 < found.warm_after < 1.0  # the last preparation is 0.6 s after the subject was opened
    assert found.prepared == 0


def test_a_subject_that_counts_no_preparation_is_warm_once_every_caller_was_served() -> None:
    subject = SteadySubject(places=16)
    subject.open()
    subject.counts = lambda: {"evaluations": subject._done}  # type: ignore[method-assign]
    found = observe_window(
        subject, Mixed(SCALE, 0), clients=16, seconds=0.2, stagger=0.0, seed=0, quiet=0.0, patience=5.0
    )
    assert found.quiet
    assert found.warm_after == found.prepared == 0
    assert sum(request.served for request in found.requests) >= 16


def test_callers_encode_pngs_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(callers, "encode_png", lambda picture, texts: made.append(picture.size))
    without, with_png = watch(FakeSubject()), watch(FakeSubject(), png=True)
    served = sum(request.served for request in with_png.requests)
    assert sum(request.served for request in without.requests) > 0
    assert len(made) >= served > 0
