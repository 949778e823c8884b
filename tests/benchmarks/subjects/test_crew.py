"""The crew opens subjects in parallel, warms them up before they are timed, and opens none twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring.workloads import Scale
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.subject import Subject
from tests.benchmarks.benches import InlineWorker
from tests.benchmarks.fakes import FakeSubject
from tests.benchmarks.made_reports import plan


@pytest.fixture
def diary() -> list[str]:
    return []


@pytest.fixture
def skipped() -> dict[str, str]:
    return {}


@pytest.fixture
def crew(tmp_path: Path, diary: list[str], skipped: dict[str, str]) -> Crew:
    def start(subject: Subject) -> Any:
        assert isinstance(subject, FakeSubject)
        return InlineWorker(subject, diary)

    small = plan(tmp_path, device="cpu", scale=Scale(size=16, steps=1))
    return Crew(small, skipped.__setitem__, tell=lambda text: None, start=start)


def test_subjects_start_together_and_warm_up_one_by_one(crew: Crew, diary: list[str]) -> None:
    workers = crew.open([FakeSubject(name="a"), FakeSubject(name="b")])
    assert [worker.subject.name for worker in workers] == ["a", "b"]
    assert diary == ["start a", "start b", "wait a", "wait b", "call a", "call b"]
    assert crew.alone.keys() == {"a", "b"}


def test_an_open_subject_is_not_opened_again(crew: Crew, diary: list[str]) -> None:
    crew.open([FakeSubject(name="a")])
    before = list(diary)
    crew.open([FakeSubject(name="a")])
    assert diary == before


def test_no_subject_is_timed_while_another_is_being_opened(crew: Crew, diary: list[str]) -> None:
    crew.start([FakeSubject(name="other")])
    crew.open([FakeSubject(name="untimed")], timed=False)
    assert diary == ["start other", "start untimed", "wait untimed"]
    crew.open([FakeSubject(name="timed")])
    assert diary[3:] == ["start timed", "wait other", "wait timed", "call timed"]


@pytest.mark.parametrize("subject", [FakeSubject(name="refusing", refuses=True), FakeSubject(name="slow")])
def test_a_subject_that_cannot_be_opened_is_skipped_once(
    crew: Crew, diary: list[str], skipped: dict[str, str], subject: FakeSubject
) -> None:
    workers = crew.open([subject, FakeSubject(name="a")])
    assert [worker.subject.name for worker in workers] == ["a"]
    assert list(skipped) == [subject.name]
    assert f"close {subject.name}" in diary
    before = list(diary)
    assert crew.open([subject]) == []
    assert diary == before


def test_released_subjects_may_be_opened_again_and_close_closes_all(crew: Crew, diary: list[str]) -> None:
    crew.open([FakeSubject(name="a"), FakeSubject(name="b")])
    crew.release(["a", "never opened"])
    assert diary[-1] == "close a"
    crew.open([FakeSubject(name="a")])
    crew.close()
    assert sorted(diary[-4:-2]) == ["end a", "end b"]
    assert sorted(diary[-2:]) == ["close a", "close b"]
