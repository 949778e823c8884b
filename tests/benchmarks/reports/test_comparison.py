"""A planted regression is found, noise is not, and reports that cannot be compared are refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare import main
from benchmarks.reports.comparison import compare
from benchmarks.reports.figures import Better
from tests.benchmarks.made_reports import MACHINE, around, figure, report

ROOT = Path(__file__).resolve().parents[3]


def kinds(old: float, new: float, *, better: Better = "lower", count: int = 12, seed: int = 0, **fields: str) -> str:
    """Give the kind of change of one figure that was around ``old`` and is around ``new``."""
    then = figure("a picture", better=better, samples=around(old, count, seed), **fields)
    now = dataclasses.replace(then, samples=around(new, count, seed + 1000))
    (change,) = compare({"figures": [then.as_json()]}, {"figures": [now.as_json()]})
    return change.kind


@pytest.mark.parametrize(("count", "least"), [(6, 30), (12, 39), (40, 40)])
def test_a_planted_regression_is_found(count: int, least: int) -> None:
    found = [kinds(1.0, 1.15, count=count, seed=seed) for seed in range(40)]
    assert found.count("worse") >= least
    assert "better" not in found


@pytest.mark.parametrize("count", [2, 5, 6, 12, 40])
def test_noise_is_no_change(count: int) -> None:
    found = [kinds(1.0, 1.0, count=count, seed=seed) for seed in range(100)]
    assert found.count("same") >= 98


def test_the_figure_says_which_direction_is_worse() -> None:
    assert kinds(1.0, 1.3) == "worse"
    assert kinds(1.3, 1.0) == "better"
    assert kinds(1.0, 1.3, better="higher") == "better"
    assert kinds(1.3, 1.0, better="higher") == "worse"
    assert kinds(1.0, 1.3, better="neither") == "other"


def test_a_significant_but_tiny_change_does_not_count() -> None:
    assert kinds(1.0, 1.02, count=200) == "same"


def test_few_samples_show_only_large_changes() -> None:
    assert kinds(1.0, 1.15, count=2) == "same"
    assert kinds(1.0, 1.5, count=2) == "worse"


def test_a_slower_peer_or_machine_is_not_a_regression() -> None:
    assert kinds(1.0, 1.5, subject="stock diffusers float16") == "other"


def test_figures_are_matched_by_their_conditions() -> None:
    then = [figure("pictures", conditions={"clients": clients}).as_json() for clients in (1, 16)]
    changes = compare({"figures": then}, {"figures": then[1:]})
    assert [change.new.conditions for change in changes] == [{"clients": 16}]


def test_exit_status_and_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = figure("a picture", samples=around(1.2, 12, 5))
    peer = figure("a picture", subject="stock diffusers float16", samples=around(3.0, 12, 6))
    old = report(tmp_path, figure("a picture", samples=around(1.0, 12, 4)), peer, name="old").path
    new = report(tmp_path, slow, peer, name="new").path
    assert main([str(old), str(new)]) == 1
    assert "worse: latency: a picture, engine float16" in (said := capsys.readouterr().out)
    assert "1 worse, 0 better, 0 changed otherwise, 1 within the noise" in said
    assert main([str(new), str(old)]) == 0
    assert "1 better" in capsys.readouterr().out
    assert main([str(old), str(old)]) == 0


def test_reports_that_cannot_be_compared_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = report(tmp_path, figure("a picture"), name="old")
    new = report(tmp_path, figure("a picture"), name="new")
    new.machine = MACHINE | {"device": "another device"}
    new.write()
    assert main([str(old.path), str(new.path)]) == 2
    assert "another device" in capsys.readouterr().err
    assert main([str(old.path), str(new.path), "--anyway"]) == 0
    new.machine = old.machine
    new.plan = {**new.plan, "settings": {"unet_rows": "8"}}
    new.write()
    assert main([str(old.path), str(new.path)]) == 2
    assert "plan settings: {} in the old report, {'unet_rows': '8'} in the new one" in capsys.readouterr().err
    assert main([str(old.path), str(tmp_path / "none.json")]) == 2


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    path = report(tmp_path, figure("a picture")).path
    command = [sys.executable, "-m", "benchmarks.compare", str(path), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 worse" in done.stdout
