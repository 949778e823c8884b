"""Stages and idle time, as measured inside the engine's process."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks.measuring.stages import StageTimer, _idle, observe_stages
from benchmarks.measuring.workloads import Alone, Scale, alone
from benchmarks.subjects.engine import EngineSubject

SCALE = Scale(size=64, steps=3)


@pytest.fixture(scope="module")
def subject(tiny_checkpoint: Path) -> EngineSubject:
    made = EngineSubject(name="engine", checkpoint=tiny_checkpoint, device="cpu", dtype="float32")
    made.open()
    return made


def test_a_timer_notes_every_stage_in_order(subject: EngineSubject) -> None:
    timer = StageTimer()
    with subject.observers.to(timer):
        subject.paint(alone(SCALE, 1))
    spans = timer.spans()
    assert [span.stage for span in spans] == ["encode", "encode", "step", "step", "step", "decode"]
    assert all(one.end <= other.begin for one, other in itertools.pairwise(spans))
    assert all(span.seconds > 0 for span in spans)


def test_a_timer_notes_nothing_after_its_block(subject: EngineSubject) -> None:
    timer = StageTimer()
    with subject.observers.to(timer):
        pass
    subject.paint(alone(SCALE, 2))
    assert timer.spans() == []


def test_stages_add_up_to_the_whole(subject: EngineSubject) -> None:
    (first, second) = observe_stages(subject, list(itertools.islice(Alone(SCALE, 10), 2)))
    assert len(first.steps) == len(second.steps) == SCALE.steps
    for one in (first, second):
        assert sum(one.steps) <= one.sample
        assert min(one.encode, one.decode, one.rest, one.png) > 0


def test_the_engine_has_settled_once_it_prepares_nothing(
    subject: EngineSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = iter([2, 3, 3, 3])
    monkeypatch.setattr(EngineSubject, "counts", lambda _: {"shapes": next(prepared)})
    assert [subject.settled() for _ in range(4)] == [False, False, True, True]


def test_the_engine_counts_an_evaluation_for_every_step_of_a_picture(subject: EngineSubject) -> None:
    before = subject.counts()["evaluations"]
    subject.paint(alone(SCALE, 3))
    assert subject.counts()["evaluations"] - before == SCALE.steps


@pytest.mark.parametrize(
    ("busy", "idle"),
    [
        ([], 1.0),
        ([(0.0, 10.0)], 0.0),
        ([(1.0, 2.0), (1.5, 3.0), (2.0, 2.5)], 0.8),  # overlapping work counts once
        ([(-5.0, 1.0), (9.0, 50.0)], 0.8),  # work outside the interval does not count
        ([(6.0, 8.0), (0.0, 4.0)], 0.4),  # in whatever order
    ],
)
def test_idle_is_the_time_that_no_interval_covers(busy: list[tuple[float, float]], idle: float) -> None:
    assert _idle(busy, 0.0, 10.0) == pytest.approx(idle)
