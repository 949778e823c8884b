"""The whole suite in its smallest form, and runs whose time is up or that are interrupted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.__main__ import main
from benchmarks.measuring.workloads import Scale
from benchmarks.reports.report import read_report
from benchmarks.suite import suite
from benchmarks.suite.budget import Budget
from benchmarks.suite.options import parser, plan_of
from benchmarks.suite.plan import SECTIONS, Variant
from benchmarks.suite.workbench import SkipSection, Workbench
from tests.benchmarks.made_reports import plan

pytestmark = pytest.mark.slow

LOADED = ("load", "pictures")
ROOT = Path(__file__).resolve().parents[3]


def test_the_smallest_form_measures_everything_that_a_cpu_can(tmp_path: Path, tiny_checkpoint: Path) -> None:
    out = tmp_path / "quick.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--checkpoint", str(tiny_checkpoint)]
    command += ["--device", "cpu", "--minutes", "20", "--target", "rtx3090", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    document = read_report(out)
    assert document["complete"]
    measured = {entry["section"] for entry in document["figures"]}
    assert measured == set(SECTIONS) - {"idle"}, document["not_run"]
    reasons = {entry["what"]: entry["reason"] for entry in document["not_run"]}
    assert "no GPU" in reasons["idle"]
    assert "--comfyui" in reasons["ComfyUI"]
    assert "GPUs" in reasons["best diffusers float32"]
    alike = [e["median"] for e in document["figures"] if e["name"] == "likeness" and "float32" in e["subject"]]
    assert alike
    assert min(alike) > 45
    loaded = {entry["subject"] for entry in document["figures"] if (entry["section"], entry["name"]) == LOADED}
    assert {"engine float32", "engine (batching fast, unet_rows 16) float32", "stock diffusers float32"} <= loaded
    kinds = {e["conditions"].get("batching") for e in document["figures"] if e["section"] == "variants"}
    assert kinds == {"exact", "fast"}
    assert document["verdicts"][0]["outcome"] == "not judged"
    assert "the times mean nothing" in done.stdout
    assert "latency" in done.stdout
    with Image.open(out.with_suffix(".png")) as image:
        assert image.format == "PNG"


def test_a_run_whose_time_is_up_says_what_it_left_out(tmp_path: Path, tiny_checkpoint: Path) -> None:
    sections = ("machine", "latency", "soak")
    small = plan(
        tmp_path, device="cpu", dtypes=("float32",), checkpoint=tiny_checkpoint, sections=sections, minutes=0.0
    )
    report = suite.run(small, tmp_path / "late.json", tell=lambda text: None)
    left_out = [entry for entry in report.not_run if entry["what"] in sections]  # without the peers that are missing
    assert [entry["what"] for entry in left_out] == list(sections)
    assert all("used up" in entry["reason"] for entry in left_out)
    assert read_report(report.path)["complete"]


def run_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path, **sections: Any) -> dict[str, Any]:
    """Run these functions as the sections of a plan and return the document that is left."""
    monkeypatch.setattr(suite, "RUN", dict(suite.RUN) | sections)
    small = plan(tmp_path, device="cpu", checkpoint=checkpoint, sections=tuple(sections), dtypes=("float32",))
    path = tmp_path / "run.json"
    with contextlib.suppress(SystemExit):
        suite.run(small, path, tell=lambda text: None)
    return read_report(path)


def measured(bench: Workbench, seconds: float) -> None:
    bench.figure("machine", "something", "machine", [seconds], "s")


def test_a_section_that_fails_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    def breaks(bench: Workbench, seconds: float) -> None:
        raise ZeroDivisionError("a defect")

    def skips(bench: Workbench, seconds: float) -> None:
        raise SkipSection("no GPU")

    document = run_with(monkeypatch, tmp_path, tiny_checkpoint, machine=breaks, cold=skips, latency=measured)
    assert [entry["name"] for entry in document["figures"]] == ["something"]
    reasons = {entry["what"]: entry["reason"] for entry in document["not_run"]}
    assert reasons["cold"] == "no GPU"
    assert "ZeroDivisionError: a defect" in reasons["machine"]


def test_an_interrupted_run_keeps_what_it_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    def cut_off(bench: Workbench, seconds: float) -> None:
        raise SystemExit(143)

    document = run_with(monkeypatch, tmp_path, tiny_checkpoint, machine=measured, cold=cut_off)
    assert [entry["name"] for entry in document["figures"]] == ["something"]
    assert not document["complete"]


def test_the_budget_is_shared_by_weight_and_unused_time_is_passed_on() -> None:
    now = 0.0
    budget = Budget(100, {"a": 1, "b": 1, "c": 2}, clock=lambda: now)
    assert budget.begin("a") == 25
    now = 40.0  # it took longer than its share
    assert budget.begin("b") == 20
    now = 41.0
    assert budget.begin("c") == 59
    now = 200.0
    assert budget.left() == -100


def test_a_section_that_takes_long_to_open_gets_its_share_of_what_is_left_then() -> None:
    now = 0.0
    budget = Budget(100, {"a": 1, "b": 3}, clock=lambda: now)
    assert budget.begin("a") == 25
    now = 60.0
    assert budget.share("a") == 10


def test_nothing_is_opened_ahead_while_something_is_to_run_undisturbed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    diary: list[str] = []
    sections = {name: lambda bench, seconds, name=name: diary.append(name) for name in ("machine", "cold", "latency")}
    monkeypatch.setattr(suite, "_start_ahead", lambda bench: diary.append("ahead"))
    run_with(monkeypatch, tmp_path, tiny_checkpoint, **sections)
    assert diary == ["machine", "cold", "ahead", "latency"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--engine", "batching"], "NAME=VALUE"),
        (["--engine", "batching=odd"], "batching"),
        (["--engine", "colour=3"], "colour"),
        (["--variants", "exact:0"], "NAME=VALUE"),
        (["--rates", "0"], "--rates 0"),
        (["--earlier", "nowhere"], "--earlier nowhere"),
    ],
)
def test_a_callers_mistake_is_reported_in_one_line(
    arguments: list[str], said: str, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--checkpoint" in arguments else ["--checkpoint", str(tiny_checkpoint), *arguments]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_options_become_a_plan(tiny_checkpoint: Path) -> None:
    words = "--device cpu --size 128 --steps 3 --minutes 5 --engine batching=fast unet_rows=4 --levels 1 7"
    words += " --rates 10 2.5 --variants exact:2 fast:8 batching=fast,max_in_flight=2 --peers stock --dtype bfloat16"
    made = plan_of(parser().parse_args(["--checkpoint", str(tiny_checkpoint), *words.split()]))
    assert made.scale == Scale(size=128, steps=3)
    assert made.settings == {"batching": "fast", "unet_rows": 4}
    assert made.levels == (1, 7)
    assert made.rates == (10, 2.5)
    assert made.dtypes == ("bfloat16",)
    assert made.peers == ("stock",)
    assert not made.synthetic
    assert made.variants[:2] == (Variant.of("exact", 2), Variant.of("fast", 8))
    assert made.variants[2].settings == (("batching", "fast"), ("max_in_flight", 2))


def test_a_cpu_gets_small_pictures_by_default(tiny_checkpoint: Path) -> None:
    made = plan_of(parser().parse_args(["--checkpoint", str(tiny_checkpoint), "--device", "cpu"]))
    assert made.scale.size < 512
    assert made.dtypes == ("float32", "bfloat16")
    assert not made.full_size
