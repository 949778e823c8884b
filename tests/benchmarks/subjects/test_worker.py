"""A subject in its own process answers, refuses, fails, dies or hangs without harm to others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial

import psutil
import pytest

from benchmarks.measuring.callers import paint_timed
from benchmarks.measuring.workloads import Scale, alone
from benchmarks.subjects.subject import NotHere
from benchmarks.subjects.worker import Worker, WorkerFailed, WorkerLost
from tests.benchmarks.fakes import FakeSubject, die, fail, process_number, sleep_long

PATIENCE = 120.0

Hire = Callable[[FakeSubject], Worker]


@pytest.fixture
def hire() -> Iterator[Hire]:
    workers: list[Worker] = []

    def start(subject: FakeSubject) -> Worker:
        workers.append(Worker(subject))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def test_a_worker_makes_pictures_in_its_own_process(hire: Hire) -> None:
    worker = hire(FakeSubject())
    worker.wait_open(PATIENCE)
    assert worker.open_seconds is not None
    assert worker.call(process_number, PATIENCE) != os.getpid()
    timed = worker.call(partial(paint_timed, request=alone(Scale(size=16, steps=1), 0)), PATIENCE)
    assert timed.delivery.pixels.shape == (16, 16, 3)


def test_a_failed_call_is_reported_and_the_worker_goes_on(hire: Hire) -> None:
    worker = hire(FakeSubject())
    worker.wait_open(PATIENCE)
    with pytest.raises(WorkerFailed, match="ValueError: that was wrong") as caught:
        worker.call(fail, PATIENCE)
    assert not isinstance(caught.value, WorkerLost)
    assert worker.call(process_number, PATIENCE)


def test_a_subject_that_cannot_run_says_why(hire: Hire) -> None:
    with pytest.raises(NotHere, match="not on this machine"):
        hire(FakeSubject(refuses=True)).wait_open(PATIENCE)


def test_a_death_is_reported_with_the_end_of_the_log(hire: Hire) -> None:
    worker = hire(FakeSubject())
    worker.wait_open(PATIENCE)
    with pytest.raises(WorkerLost, match=r"exit status 3.*these are my last words"):
        worker.call(die, PATIENCE)
    with pytest.raises(WorkerLost):
        worker.call(process_number, PATIENCE)


def test_a_call_that_takes_too_long_is_stopped(hire: Hire) -> None:
    worker = hire(FakeSubject())
    worker.wait_open(PATIENCE)
    number = worker.call(process_number, PATIENCE)
    with pytest.raises(WorkerLost, match="longer than"):
        worker.call(sleep_long, 0.1)
    while psutil.pid_exists(number):  # the test ends only if it does
        time.sleep(0.01)
