"""Cold starts: what is read from the disk once does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suite.bench import Bench
from benchmarks.suite.sections import cold
from tests.benchmarks.measuring.test_throughput import bench_of


def test_the_first_start_reads_from_the_disk_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spent = iter([30.0, 7.0, 8.0, 9.0])

    def start(bench: Bench, seconds: float) -> dict[str, float]:
        return {"began": 0.0, "imported": 1.0, "loaded": 2.0, "painted": next(spent)}

    monkeypatch.setattr(cold, "_start", start)
    (tmp_path / "some.safetensors").touch()
    bench = bench_of(tmp_path, device="cuda")
    cold.run(bench, 600.0)
    figure = bench.report.find("cold", "process start to first picture", "engine float16")
    assert figure is not None
    assert figure.samples == (7.0, 8.0, 9.0)
    assert "page cache" in bench.report.notes[0]
