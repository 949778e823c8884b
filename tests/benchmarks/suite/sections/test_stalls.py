"""The section of stalls: every task in every precision, and one that fails is named and harms no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring.stalls import Stall
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.synthetic_parts import Parts
from benchmarks.suite.sections import stalls
from tests.benchmarks.benches import bench_of, worker_of
from tests.benchmarks.fakes import FakeSubject


def test_each_task_is_measured_and_one_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def observed(subject: Subject, task: str, **_: Any) -> Stall:
        if task == "decode":
            raise stalls.WorkerFailed("no memory for it")
        return Stall(usual=[0.1, 0.2, 0.3], meanwhile=[0.2], gap=0.5, processor_gap=0.4, seconds=2.0)

    bench = bench_of(tmp_path, dtypes=("float32", "bfloat16"))
    monkeypatch.setattr(stalls, "synthetic_parts", lambda checkpoint, size: Parts(folder=tmp_path))
    monkeypatch.setattr(stalls, "observe_stall", observed)
    monkeypatch.setattr(bench, "open_one", lambda subject: worker_of(bench, FakeSubject(name=subject.name), 0.1))
    stalls.run(bench, 60.0)
    for dtype in ("float32", "bfloat16"):
        found = bench.report.find("stalls", "longest gap over a step", f"engine {dtype}", task="encode", side=128)
        assert found is not None
        assert found.samples == (2.5,)
    tasks = [figure.conditions["task"] for figure in bench.report.of("stalls", "longest gap between steps")]
    assert tasks == [task for task in stalls.TASKS if task != "decode"] * 2
    assert [entry["reason"] for entry in bench.report.not_run] == ["no memory for it"] * 2
