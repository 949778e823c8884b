"""Workbenches and workers for tests, without processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring.workloads import Scale
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.worker import WorkerLost
from benchmarks.suite.budget import Budget
from benchmarks.suite.workbench import Workbench
from tests.benchmarks.fakes import FakeSubject
from tests.benchmarks.made_reports import plan, report

SCALE = Scale(size=16, steps=20)


class InlineWorker:
    """A worker without a process, which writes what happens to it into ``diary``."""

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


def bench_of(tmp_path: Path, **fields: Any) -> Workbench:
    defaults: dict[str, Any] = {"device": "cpu", "scale": SCALE, "window": (0.6, 0.6), "warm": (0.0, 5.0)}
    small = plan(tmp_path, **(defaults | fields))
    made = report(tmp_path)
    return Workbench(
        plan=small,
        report=made,
        budget=Budget(600, {"load": 1}),
        crew=Crew(small, made.skip, tell=lambda text: None),
    )


def worker_of(bench: Workbench, subject: FakeSubject, alone: float) -> Any:
    worker = InlineWorker(subject, [])
    worker.wait_open(1)
    bench.crew.alone[subject.name] = alone
    return worker
