"""Closed and open loops: who is in at a time, what is counted, and that a load always ends."""

from __future__ import annotations

import pytest

from benchmarks.measuring.callers import closed_loop, open_loop, paint_all, paint_timed, warm_up
from benchmarks.measuring.workloads import Alone, Mixed, Scale, alone
from tests.benchmarks.fakes import FakeSubject

SCALE = Scale(size=16, steps=4)
MIX = Mixed(SCALE, 0)


def opened(**fields: object) -> FakeSubject:
    subject = FakeSubject(**fields)  # type: ignore[arg-type]
    subject.open()
    return subject


@pytest.mark.parametrize("clients", [1, 3, 8])
def test_a_closed_loop_has_as_many_inside_as_it_has_clients(clients: int) -> None:
    subject = opened(seconds=0.01)
    visits = closed_loop(subject, MIX, clients, seconds=0.3, stagger=0.0, seed=0)
    assert subject.most_inside <= clients
    assert sum(visit.served for visit in visits) == subject.painted >= clients
    assert all(visit.left >= visit.arrived >= 0 for visit in visits)
    assert [visit.left for visit in visits] == sorted(visit.left for visit in visits)


def test_a_closed_loop_gives_up_what_is_under_way_when_its_time_is_over() -> None:
    visits = closed_loop(opened(seconds=600.0), MIX, 5, seconds=1.0, stagger=0.0, seed=0)
    assert {visit.failure for visit in visits} == {"given up"}
    assert len(visits) <= 5


def test_an_open_loop_sends_every_request_and_counts_from_when_it_was_due() -> None:
    subject = opened(seconds=0.02, places=1)
    times = [0.001 * k for k in range(10)]  # far faster than they are served
    visits = open_loop(subject, MIX, times, patience=60.0)
    assert [visit.arrived for visit in sorted(visits, key=lambda visit: visit.arrived)] == times
    assert all(visit.served for visit in visits)
    assert subject.most_inside == 1
    assert max(visit.seconds for visit in visits) >= 10 * 0.02 - 0.01  # the last waits for all the others


def test_an_open_loop_ends_although_nobody_is_served() -> None:
    visits = open_loop(opened(seconds=600.0), MIX, [0.0, 0.01], patience=0.05)
    assert [visit.failure for visit in visits] == ["given up", "given up"]


def test_one_failure_is_told_and_costs_nobody_else() -> None:
    visits = open_loop(opened(failing="number 1"), Alone(SCALE), [0.0, 0.0, 0.0], patience=60.0)
    failures = sorted(visit.failure or "" for visit in visits)
    assert failures == ["", "", "RuntimeError: this one fails"]


def test_warming_up_goes_on_until_the_subject_has_settled() -> None:
    subject = opened(seconds=0.05)
    assert len(warm_up(subject, Alone(SCALE), least=1, seconds=600.0)) >= 3
    assert subject.settled()


def test_warming_up_ends_with_its_time() -> None:
    subject = opened()
    subject.settled = lambda: False  # type: ignore[method-assign]
    assert len(warm_up(subject, Alone(SCALE), least=4, seconds=0.0)) == 4


def test_a_picture_with_png_takes_the_png_too() -> None:
    subject = opened()
    timed = paint_timed(subject, alone(SCALE, 0), png=True)
    assert timed.seconds >= subject.seconds
    assert timed.picture.pixels.shape == (16, 16, 3)


def test_painting_all_paints_all() -> None:
    subject = opened()
    paint_all(subject, [alone(SCALE, number) for number in range(20)], clients=4)
    assert subject.painted == 20
    assert subject.most_inside <= 4


def test_painting_all_raises_what_a_request_raised() -> None:
    with pytest.raises(RuntimeError, match="fails"):
        paint_all(opened(failing="number 3"), [alone(SCALE, number) for number in range(5)], clients=2)
