"""The section on load: rates are right, subjects take turns, and what went wrong is in the report."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring.throughput import Window
from benchmarks.measuring.workloads import Mixed, Scale
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.suite.sections import load
from benchmarks.suite.sections.load import in_turns, prime, rate, serve
from benchmarks.suite.workbench import SkipSection, Workbench
from tests.benchmarks.benches import SCALE, bench_of, worker_of
from tests.benchmarks.fakes import FakeSubject, SteadySubject


@pytest.mark.parametrize("window", [0.6, 1.0])  # as 3.5 and 6 s are for an engine of 8 pictures a second
def test_the_measured_rate_is_the_engines(tmp_path: Path, window: float) -> None:
    truth = 48.0
    bench = bench_of(tmp_path, window=(window, window))
    worker = worker_of(bench, SteadySubject(evaluations=truth * SCALE.mean_steps, places=16), alone=1 / truth)
    seen = [rate(bench, serve(bench, worker, 16, 60.0, seed=seed)) for seed in range(5)]
    assert statistics.mean(seen) == pytest.approx(truth, rel=0.03)
    assert all(one == pytest.approx(truth, rel=0.08) for one in seen)


def test_the_measured_rate_of_a_subject_that_takes_turns_is_right(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    truth = 12.0
    worker = worker_of(bench, OneByOne(evaluations=truth * SCALE.mean_steps), alone=1 / truth)
    seen = [rate(bench, serve(bench, worker, 16, 60.0, seed=seed)) for seed in range(5)]
    assert statistics.mean(seen) == pytest.approx(truth, rel=0.03)
    assert all(one == pytest.approx(truth, rel=0.08) for one in seen)


class OneByOne(SteadySubject):
    """Takes turns and has no count of evaluations."""

    places = 1

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields, places=1)

    def counts(self) -> dict[str, int]:
        return {}


def test_priming_lasts_until_nothing_is_prepared(tmp_path: Path) -> None:
    subject = SteadySubject(hurdles=3, interval=0.1)
    bench = bench_of(tmp_path, device="cuda", warm=(0.2, 5.0))
    worker = worker_of(bench, subject, alone=0.01)
    prime(bench, worker, 4)
    assert subject.counts()["shapes"] == 3


def test_a_subject_that_never_gets_warm_is_measured_with_a_note(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, warm=(1.0, 0.5))
    worker = worker_of(bench, SteadySubject(hurdles=1000, interval=0.1), alone=0.01)
    found = serve(bench, worker, 4, 60.0, seed=0)
    assert not found.quiet
    assert found.prepared == pytest.approx(found.seconds / 0.1, abs=3)
    (first, second) = bench.report.notes
    assert "may not have been warm" in first
    assert f"prepared {found.prepared} times while it was watched" in second


def test_a_load_without_pictures_is_skipped(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    worker = worker_of(bench, FakeSubject(failing=" "), alone=0.01)
    with pytest.raises(SkipSection, match="fewer than two pictures"):
        serve(bench, worker, 2, 60.0, seed=0)
    assert "requests failed" in bench.report.notes[0]


def test_comfyui_has_a_group_of_its_own_with_the_engines(tmp_path: Path) -> None:
    stock = FakeSubject(name="stock")
    comfyui = ComfyuiSubject(name="ComfyUI", checkpoint=tmp_path, device="cpu", dtype="float32", folder=tmp_path)
    for peers, expected in (
        ([stock, comfyui], [["engine", "stock"], ["engine", "ComfyUI"]]),
        ([comfyui], [["engine"], ["engine", "ComfyUI"]]),
        ([stock], [["engine", "stock"]]),
        ([], [["engine"]]),
    ):
        bench = bench_of(tmp_path)
        engine = EngineSubject(name="engine", checkpoint=tmp_path, device="cpu", dtype="float32")
        for each in ([[engine, *peers]], [[engine, peer] for peer in peers] or [[engine]]):
            bench.groups = lambda *_, groups=each: groups  # type: ignore[method-assign]
            groups = load._groups(bench)
            assert [[subject.name for subject in group] for group in groups] == expected
            assert [load._writes_png(group) for group in groups] == ["ComfyUI" in names for names in expected]


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The order in which subjects are loaded; each window ends at once."""
    seen: list[str] = []

    def noted(bench: Workbench, worker: Any, clients: int, share: float, seed: int, png: bool) -> Window:
        seen.append(f"{worker.subject.name}{seed}")
        return Window(seconds=1.0, work=20, counted=True, warm_after=0.0, quiet=True, prepared=0, requests=[])

    monkeypatch.setattr("benchmarks.suite.sections.load.serve", noted)
    return seen


def test_every_subject_has_a_window_before_the_next_turn(tmp_path: Path, order: list[str]) -> None:
    bench = bench_of(tmp_path)
    workers = [worker_of(bench, FakeSubject(name=name), alone=0.1) for name in "abc"]
    found = in_turns(bench, "load", workers, 600.0, 3)
    assert order == ["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]
    assert {name: list(windows) for name, windows in found.items()} == {name: [0, 1, 2] for name in "abc"}
    assert bench.report.not_run == []


def test_the_report_names_turns_without_time(tmp_path: Path, order: list[str]) -> None:
    bench = bench_of(tmp_path)
    workers = [worker_of(bench, FakeSubject(name=name), alone=0.1) for name in "ab"]
    in_turns(bench, "variants", workers, 0.5, 3)
    assert order == ["a0", "b0"]
    assert bench.report.not_run[0]["what"] == "variants: windows after 1 of 3"


def test_a_picture_of_the_mix_takes_an_evaluation_a_step() -> None:
    for steps in (2, 3, 20):
        mix = Mixed(Scale(size=16, steps=steps), 0)
        assert mix.mean_evaluations == mix.scale.mean_steps  # its samplers evaluate once in a step
