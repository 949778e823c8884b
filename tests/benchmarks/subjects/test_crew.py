"""Who is open when: side by side, warmed up before being timed, given up when it takes too long, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring.workloads import Scale
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.worker import WorkerLost
from tests.benchmarks.fakes import FakeSubject
from tests.benchmarks.made_reports import plan


class InlineWorker:
    """A worker without a process. What happens to it goes into ``diary``."""

    def __init__(self, subject: FakeSubject, diary: list[str]) -> None:
        self.subject = subject
        self.open_seconds: float | None = None
        self._diary = diary
        diary.append(f"start {subject.name}")

    def wait_open(self, seconds: float) -> None:
        if self.open_seconds is None:
            self._diary.append(f"wait {self.subject.name}")
            if self.subject.name == "slow":
                raise WorkerLost("opening took longer than it may")
            self.subject.open()
            self.open_seconds = 0.0

    def call(self, job: Callable[[Any], Any], seconds: float) -> Any:
        self._diary.append(f"call {self.subject.name}")
        return job(self.subject)

    def ask_to_end(self) -> None:
        self._diary.append(f"end {self.subject.name}")

    def close(self) -> None:
        self._diary.append(f"close {self.subject.name}")


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


def test_subjects_are_started_together_and_warmed_up_one_by_one(crew: Crew, diary: list[str]) -> None:
    workers = crew.open([FakeSubject(name="a"), FakeSubject(name="b")])
    assert [worker.subject.name for worker in workers] == ["a", "b"]
    assert diary == ["start a", "start b", "wait a", "wait b", "call a", "call b"]
    assert crew.alone.keys() == {"a", "b"}


def test_who_is_open_is_not_opened_again(crew: Crew, diary: list[str]) -> None:
    crew.open([FakeSubject(name="a")])
    before = list(diary)
    crew.open([FakeSubject(name="a")])
    assert diary == before


def test_nobody_is_timed_while_another_is_being_opened(crew: Crew, diary: list[str]) -> None:
    crew.start([FakeSubject(name="other")])
    crew.open([FakeSubject(name="untimed")], timed=False)
    assert diary == ["start other", "start untimed", "wait untimed"]
    crew.open([FakeSubject(name="timed")])
    assert diary[3:] == ["start timed", "wait other", "wait timed", "call timed"]


@pytest.mark.parametrize("subject", [FakeSubject(name="refusing", refuses=True), FakeSubject(name="slow")])
def test_who_cannot_be_opened_is_skipped_once_and_not_tried_again(
    crew: Crew, diary: list[str], skipped: dict[str, str], subject: FakeSubject
) -> None:
    workers = crew.open([subject, FakeSubject(name="a")])
    assert [worker.subject.name for worker in workers] == ["a"]
    assert list(skipped) == [subject.name]
    assert f"close {subject.name}" in diary
    before = list(diary)
    assert crew.open([subject]) == []
    assert diary == before


def test_what_is_released_may_be_opened_again_and_all_are_closed_in_the_end(crew: Crew, diary: list[str]) -> None:
    crew.open([FakeSubject(name="a"), FakeSubject(name="b")])
    crew.release(["a", "never opened"])
    assert diary[-1] == "close a"
    crew.open([FakeSubject(name="a")])
    crew.close()
    assert sorted(diary[-4:-2]) == ["end a", "end b"]
    assert sorted(diary[-2:]) == ["close a", "close b"]
