"""Closed and open loops: how many callers wait at a time, what is counted, and that a load always ends."""

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
def test_a_closed_loop_has_at_most_one_picture_in_progress_for_each_client(clients: int) -> None:
    subject = opened(seconds=0.01)
    requests = closed_loop(subject, MIX, clients, seconds=0.3, stagger=0.0, seed=0)
    assert subject.most_inside <= clients
    assert sum(request.served for request in requests) == subject.painted >= clients
    assert all(request.left >= request.arrived >= 0 for request in requests)
    assert [request.left for request in requests] == sorted(request.left for request in requests)


def test_a_closed_loop_gives_up_pictures_in_progress_at_its_end() -> None:
    requests = closed_loop(opened(seconds=600.0), MIX, 5, seconds=1.0, stagger=0.0, seed=0)
    assert {request.failure for request in requests} == {"given up"}
    assert len(requests) <= 5


def test_an_open_loop_sends_every_request_and_counts_from_when_it_was_due() -> None:
    subject = opened(seconds=0.02, places=1)
    times = [0.001 * k for k in range(10)]  # far faster than the subject serves them
    requests = open_loop(subject, MIX, times, patience=60.0)
    assert [request.arrived for request in sorted(requests, key=lambda request: request.arrived)] == times
    assert all(request.served for request in requests)
    assert subject.most_inside == 1
    assert max(request.seconds for request in requests) >= 10 * 0.02 - 0.01  # the last waits for all the others


def test_an_open_loop_ends_even_if_no_request_is_served() -> None:
    requests = open_loop(opened(seconds=600.0), MIX, [0.0, 0.01], patience=0.05)
    assert [request.failure for request in requests] == ["given up", "given up"]


def test_one_failure_is_reported_and_harms_no_other_request() -> None:
    requests = open_loop(opened(failing="number 1"), Alone(SCALE), [0.0, 0.0, 0.0], patience=60.0)
    failures = sorted(request.failure or "" for request in requests)
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
    assert timed.delivery.pixels.shape == (16, 16, 3)


def test_paint_all_makes_every_picture() -> None:
    subject = opened()
    paint_all(subject, [alone(SCALE, number) for number in range(20)], clients=4)
    assert subject.painted == 20
    assert subject.most_inside <= 4


def test_paint_all_raises_what_a_request_raised() -> None:
    with pytest.raises(RuntimeError, match="fails"):
        paint_all(opened(failing="number 3"), [alone(SCALE, number) for number in range(5)], clients=2)
