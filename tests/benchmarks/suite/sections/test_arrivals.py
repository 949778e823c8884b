"""Random arrivals: the rates, and an earlier engine beside this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suite.sections import arrivals
from benchmarks.suite.sections.arrivals import rates_below
from benchmarks.suite.workbench import Workbench
from tests.benchmarks.benches import bench_of, worker_of
from tests.benchmarks.fakes import FakeSubject


@pytest.mark.parametrize("most", [0.013, 0.9, 1.0, 7.3, 10.2, 640.0])
def test_rates_are_round_and_end_near_the_capacity(most: float) -> None:
    chosen = rates_below(most, 4)
    assert len(chosen) == 4
    assert chosen == sorted(chosen)
    assert most / 1.6 < chosen[-1] <= most
    assert chosen == rates_below(most * 1.0001, 4)


def test_an_earlier_engine_gets_the_same_arrivals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, rates=(50.0,), earlier=tmp_path, turns=2, window=(0.2, 0.2))
    ours, earlier = FakeSubject(name="engine float16", seconds=0.02), FakeSubject(name="earlier", seconds=0.06)
    monkeypatch.setattr(FakeSubject, "give_up", lambda _: None)  # each turn of an open loop ends with it
    workers = [worker_of(bench, subject, alone=0.01) for subject in (ours, earlier)]
    monkeypatch.setattr(Workbench, "open", lambda *_, **__: workers)
    arrivals.run(bench, 1.0)
    counts = [bench.report.find("arrivals", "latency", subject.name) for subject in (ours, earlier)]
    assert all(figure is not None and len(figure.samples) > 10 for figure in counts)
    assert len({len(figure.samples) for figure in counts if figure is not None}) == 1
    quotient = bench.report.find("arrivals", "times as fast, p50", "engine float16", beside="earlier")
    assert quotient is not None
    assert len(quotient.samples) == 2
    assert quotient.median > 1.5
