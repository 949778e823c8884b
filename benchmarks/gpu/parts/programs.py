"""Runs what are programs of their own: the tests that need a GPU, and the suite beside diffusers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench

_TO_COMPILE = 3.5
"""Minutes below which diffusers is not measured compiled."""

_ROOT = Path(__file__).resolve().parents[3]


def tests(bench: Bench) -> Any:
    """Run the tests marked ``gpu``; return the end of what pytest says."""
    most = max(30.0, min(240.0, bench.left - 10))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:benchmark",
        "-m",
        "gpu",
        "-n",
        "4",
        "--dist",
        "load",
        "-rfE",
        "tests/engine",
    ]
    return _said(command, most)


def suite(bench: Bench) -> Any:
    """Run the suite's sections that compare with diffusers; return its report."""
    minutes = max(0.5, min(5.0, (bench.left - 10) / 60))
    peers = ["stock", "best"] if minutes > _TO_COMPILE else ["stock"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.json"
        command = [sys.executable, "-m", "benchmarks", "--out", str(path), "--minutes", f"{minutes:.2f}"]
        command += ["--only", "precision", "latency", "load", "stages", "--compiled", "reduce-overhead"]
        command += ["--quick"] if bench.simulated else ["--peers", *peers, "--checkpoint", str(bench.checkpoint_path)]
        said = _said(command, 60 * minutes + 60)
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return {**said, "report": report}


def _said(command: list[str], most: float) -> dict[str, Any]:
    """Run a command for at most that many seconds; return its exit status and the end of its output.

    Files of the checkout are named from its root, since reports are shared.
    """
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=most)
    except subprocess.TimeoutExpired:
        process.terminate()
        said, _ = process.communicate()
        said += f"\nstopped after {most:.0f} s"
    return {"status": process.returncode, "said": said.replace(f"{_ROOT}/", "")[-6000:]}
