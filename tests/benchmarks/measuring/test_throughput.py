"""Pictures a second under load: right for a subject that never falters, however short the window, and once warm."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring import callers as drive
from benchmarks.measuring.throughput import Window, observe_window
from benchmarks.measuring.workloads import Mixed, Scale
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.suite.bench import Bench, SkipSection
from benchmarks.suite.budget import Budget
from benchmarks.suite.sections import load
from benchmarks.suite.sections.load import in_turns, prime, rate, serve
from tests.benchmarks.fakes import FakeSubject, SteadySubject
from tests.benchmarks.made_reports import plan, report
from tests.benchmarks.subjects.test_crew import InlineWorker

SCALE = Scale(size=16, steps=20)


def bench_of(tmp_path: Path, **fields: Any) -> Bench:
    defaults: dict[str, Any] = {"device": "cpu", "scale": SCALE, "window": (0.6, 0.6), "warm": (0.0, 5.0)}
    small = plan(tmp_path, **(defaults | fields))
    made = report(tmp_path)
    return Bench(
        plan=small,
        report=made,
        budget=Budget(600, {"load": 1}),
        crew=Crew(small, made.skip, tell=lambda text: None),
    )


def worker_of(bench: Bench, subject: FakeSubject, alone: float) -> Any:
    worker = InlineWorker(subject, [])
    worker.wait_open(1)
    bench.crew.alone[subject.name] = alone
    return worker


def watch(subject: FakeSubject, clients: int = 16, **fields: Any) -> Window:
    defaults: dict[str, Any] = {"seconds": 0.2, "stagger": 0.1, "seed": 0, "quiet": 0.0, "patience": 5.0}
    subject.open()
    return observe_window(subject, Mixed(SCALE, 0), clients=clients, **(defaults | fields))


@pytest.mark.parametrize("window", [0.6, 1.0])  # as 3.5 and 6 s are for an engine of 8 pictures a second
def test_an_engine_of_so_many_pictures_a_second_is_seen_to_make_them(tmp_path: Path, window: float) -> None:
    truth = 48.0
    bench = bench_of(tmp_path, window=(window, window))
    worker = worker_of(bench, SteadySubject(evaluations=truth * SCALE.mean_steps, places=16), alone=1 / truth)
    seen = [rate(bench, serve(bench, worker, 16, 60.0, seed=seed)) for seed in range(5)]
    assert statistics.mean(seen) == pytest.approx(truth, rel=0.03)
    assert all(one == pytest.approx(truth, rel=0.08) for one in seen)


def test_a_peer_that_makes_one_after_another_is_seen_too(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    truth = 12.0
    worker = worker_of(bench, OneByOne(evaluations=truth * SCALE.mean_steps), alone=1 / truth)
    seen = [rate(bench, serve(bench, worker, 16, 60.0, seed=seed)) for seed in range(5)]
    assert statistics.mean(seen) == pytest.approx(truth, rel=0.03)
    assert all(one == pytest.approx(truth, rel=0.08) for one in seen)


class OneByOne(SteadySubject):
    """Has no count of its evaluations."""

    places = 1

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields, places=1)

    def counts(self) -> dict[str, int]:
        return {}


def test_nothing_is_measured_before_nothing_is_prepared() -> None:
    found = watch(SteadySubject(hurdles=3, interval=0.2), quiet=0.4)
    assert found.quiet
    assert 0.3 < found.warm_after < 1.0  # the last of them is 0.6 s after the subject was opened
    assert found.prepared == 0


def test_priming_lasts_until_nothing_is_prepared(tmp_path: Path) -> None:
    subject = SteadySubject(hurdles=3, interval=0.1)
    bench = bench_of(tmp_path, device="cuda", warm=(0.2, 5.0))
    worker = worker_of(bench, subject, alone=0.01)
    prime(bench, worker, 4)
    assert subject.counts()["shapes"] == 3


def test_who_never_gets_warm_is_measured_all_the_same_and_it_is_said(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, warm=(1.0, 0.5))
    worker = worker_of(bench, SteadySubject(hurdles=1000, interval=0.1), alone=0.01)
    found = serve(bench, worker, 4, 60.0, seed=0)
    assert not found.quiet
    assert found.prepared == pytest.approx(found.seconds / 0.1, abs=3)
    (first, second) = bench.report.notes
    assert "may not have been warm" in first
    assert f"prepared {found.prepared} times while it was watched" in second


def test_an_engine_that_counts_nothing_prepared_is_warm_when_everyone_was_served() -> None:
    subject = SteadySubject(places=16)
    subject.open()
    subject.counts = lambda: {"evaluations": subject._done}  # type: ignore[method-assign]
    found = observe_window(
        subject, Mixed(SCALE, 0), clients=16, seconds=0.2, stagger=0.0, seed=0, quiet=0.0, patience=5.0
    )
    assert found.quiet
    assert found.warm_after == found.prepared == 0
    assert sum(visit.served for visit in found.visits) >= 16


def test_a_load_that_shows_nothing_is_skipped(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    worker = worker_of(bench, FakeSubject(failing=" "), alone=0.01)
    with pytest.raises(SkipSection, match="fewer than two pictures"):
        serve(bench, worker, 2, 60.0, seed=0)
    assert "requests failed" in bench.report.notes[0]


def test_callers_make_pngs_where_they_are_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(drive, "encode_png", lambda picture, texts: made.append(picture.size))
    without, with_png = watch(FakeSubject()), watch(FakeSubject(), png=True)
    served = sum(visit.served for visit in with_png.visits)
    assert sum(visit.served for visit in without.visits) > 0
    assert len(made) >= served > 0


def test_comfyui_has_the_engines_to_itself(tmp_path: Path) -> None:
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
            bench.heats = lambda *_, heats=each: heats  # type: ignore[method-assign]
            heats = load._heats(bench)
            assert [[subject.name for subject in heat] for heat in heats] == expected
            assert [load._writes_png(heat) for heat in heats] == ["ComfyUI" in names for names in expected]


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who is served when; everyone at once."""
    seen: list[str] = []

    def noted(bench: Bench, worker: Any, clients: int, share: float, seed: int, png: bool) -> Window:
        seen.append(f"{worker.subject.name}{seed}")
        return Window(seconds=1.0, work=20, counted=True, warm_after=0.0, quiet=True, prepared=0, visits=[])

    monkeypatch.setattr("benchmarks.suite.sections.load.serve", noted)
    return seen


def test_everyone_has_a_turn_before_anybody_has_the_next(tmp_path: Path, order: list[str]) -> None:
    bench = bench_of(tmp_path)
    workers = [worker_of(bench, FakeSubject(name=name), alone=0.1) for name in "abc"]
    found = in_turns(bench, "load", workers, 600.0, 3)
    assert order == ["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]
    assert {name: list(windows) for name, windows in found.items()} == {name: [0, 1, 2] for name in "abc"}
    assert bench.report.not_run == []


def test_turns_for_which_there_is_no_time_are_told(tmp_path: Path, order: list[str]) -> None:
    bench = bench_of(tmp_path)
    workers = [worker_of(bench, FakeSubject(name=name), alone=0.1) for name in "ab"]
    in_turns(bench, "variants", workers, 0.5, 3)
    assert order == ["a0", "b0"]
    assert bench.report.not_run[0]["what"] == "variants: windows after 1 of 3"


def test_a_picture_takes_the_mixs_own_number_of_evaluations() -> None:
    for steps in (2, 3, 20):
        mix = Mixed(Scale(size=16, steps=steps), 0)
        assert mix.mean_evaluations == mix.scale.mean_steps  # its samplers evaluate once a step
