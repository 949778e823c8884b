"""Cold starts: the first start is not counted, and versions are started by turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suite.sections import cold
from benchmarks.suite.workbench import Workbench
from tests.benchmarks.benches import bench_of


def test_the_first_start_reads_from_the_disk_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spent = iter([30.0, 7.0, 8.0, 9.0])

    def start(bench: Workbench, folder: Path, seconds: float) -> dict[str, float]:
        return {"began": 0.0, "imported": 1.0, "loaded": 2.0, "painted": next(spent)}

    monkeypatch.setattr(cold, "_start", start)
    (tmp_path / "some.safetensors").touch()
    bench = bench_of(tmp_path, device="cuda")
    cold.run(bench, 600.0)
    figure = bench.report.find("cold", "process start to first picture", "engine float16")
    assert figure is not None
    assert figure.samples == (7.0, 8.0, 9.0)
    assert "page cache" in bench.report.notes[0]


def test_an_earlier_version_is_started_by_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Path] = []

    def start(bench: Workbench, folder: Path, seconds: float) -> dict[str, float]:
        started.append(folder)
        return {"began": 0.0, "imported": 1.0, "loaded": 2.0, "painted": 6.0 if folder == tmp_path else 3.0}

    monkeypatch.setattr(cold, "_start", start)
    (tmp_path / "some.safetensors").touch()
    bench = bench_of(tmp_path, device="cuda", earlier=tmp_path)
    cold.run(bench, 600.0)
    here = cold._ROOT
    assert started[2:] == [here, tmp_path, tmp_path, here, here, tmp_path]
    quotient = bench.report.find("cold", "times as fast to the first picture", "engine float16")
    assert quotient is not None
    assert quotient.samples == (2.0, 2.0, 2.0)


def test_a_process_takes_the_engine_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('this is the other engine')")
    bench = bench_of(tmp_path, checkpoint=tmp_path / "some.safetensors")
    with pytest.raises(cold.SkipSection, match="this is the other engine"):
        cold._start(bench, tmp_path, 60.0)
