"""Features beside a peer: by turns, from the same files, with a LoRA that is loaded anew and one that stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring.features import DENOISE, Feature, request_for
from benchmarks.subjects.subject import Delivery
from benchmarks.subjects.synthetic_parts import Parts
from benchmarks.suite.sections import features
from engine import GenerationRequest
from tests.benchmarks.benches import SCALE, bench_of, worker_of
from tests.benchmarks.fakes import FakeSubject


class Diary(FakeSubject):
    """Writes down which pictures it is asked for."""

    def open(self) -> None:
        super().open()
        self.asked: list[str] = []

    def paint(self, request: GenerationRequest) -> Delivery:
        self.asked.append(f"{'LoRA' if request.loras else 'other'}, {request.steps} steps")
        return super().paint(request)

    def forget(self, lora: Path) -> None:
        self.asked.append("forget")


def measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, theirs: float = 0.003, peer: bool = True
) -> tuple[Any, Any]:
    """Run the section with subjects that take ``theirs`` and a millisecond."""
    bench = bench_of(tmp_path, rounds=(2, 2), dtypes=("float32",))
    ours = Diary(name="engine float32 with files", seconds=0.001)
    other = Diary(name="diffusers float32 with files", seconds=theirs)
    subjects = [ours, other] if peer else [ours]
    bench.budget.begin("load")
    monkeypatch.setattr(features, "forget", lambda subject, lora: subject.forget(lora))
    workers = [worker_of(bench, subject, 0.001) for subject in subjects]
    features._in_turns(bench, workers, Parts(folder=tmp_path), 60.0)
    return bench, ours


@pytest.mark.parametrize("feature", features.FEATURES)
def test_every_feature_is_a_request_with_the_plans_steps(feature: Feature) -> None:
    request = request_for(feature, SCALE, 3)
    assert request.steps == SCALE.steps
    assert not request.plain
    assert request.denoise == (DENOISE if request.image else 1)
    assert request != request_for(feature, SCALE, 4)


def test_each_round_has_every_feature_of_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench, _ = measured(monkeypatch, tmp_path)
    for feature in features.FEATURES:
        for name in ("engine float32", "diffusers float32"):
            figure = bench.report.find("features", "a picture", name, feature=feature)
            assert len(figure.samples) == 2
        quotient = bench.report.find("features", "times as fast", "engine float32", feature=feature)
        assert len(quotient.samples) == 2
        assert quotient.conditions["beside"] == "diffusers float32"


def test_a_lora_is_forgotten_before_its_first_use_and_used_before_the_resident_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, ours = measured(monkeypatch, tmp_path)
    rounds = ours.asked[len(features.FEATURES) :]
    assert rounds[:4] == ["forget", "LoRA, 20 steps", "LoRA, 1 steps", "LoRA, 20 steps"]
    assert rounds.count("forget") == 2


def test_the_engine_is_measured_without_a_peer_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench, _ = measured(monkeypatch, tmp_path, peer=False)
    assert bench.report.of("features", "a picture")
    assert not bench.report.of("features", "times as fast")


def test_a_peer_that_lacks_a_package_is_named_in_the_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    bench = bench_of(tmp_path)
    (ours,) = features._subjects(bench, "float32", Parts(folder=tmp_path))
    assert ours.name == "engine float32 with files"
    (entry,) = bench.report.not_run
    assert "peft" in entry["reason"]
