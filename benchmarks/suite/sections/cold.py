"""From the start of a process to its first picture, the checkpoint and the libraries being in the page cache."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.suite.bench import Bench, SkipSection

_MOST = 3
_ROOT = Path(__file__).resolve().parents[3]


def run(bench: Bench, seconds: float) -> None:
    """Starts, one after another: at least one, at most three, after one that does not count."""
    _read_once(bench.plan.checkpoint)
    if not bench.plan.quick:
        _start(bench, max(60.0, bench.budget.left()))
        bench.report.note("cold: a start before those that count had read checkpoint and libraries into the page cache")
    begin, starts = time.monotonic(), list[dict[str, float]]()
    most = 1 if bench.plan.quick else _MOST
    while not starts or (len(starts) < most and (time.monotonic() - begin) * (1 + 1 / len(starts)) < seconds):
        starts.append(_start(bench, max(60.0, bench.budget.left())))
    subject = bench.engine().name
    stages = (
        ("process start to import", "began", "imported"),
        ("load", "imported", "loaded"),
        ("first picture", "loaded", "painted"),
        ("process start to ready", "began", "loaded"),
        ("process start to first picture", "began", "painted"),
    )
    for name, earlier, later in stages:
        bench.figure("cold", name, subject, [start[later] - start[earlier] for start in starts], "s", "lower")


def _read_once(checkpoint: Path) -> None:
    with checkpoint.open("rb") as file:
        while file.read(2**24):
            pass


def _start(bench: Bench, seconds: float) -> dict[str, float]:
    plan = bench.plan
    command = [sys.executable, "-m", "benchmarks.measuring.first_picture", str(plan.checkpoint.resolve())]
    command += [f"--device={plan.device}", f"--dtype={plan.dtype}"]
    command += [f"--size={plan.scale.size}", f"--steps={plan.scale.steps}", f"--settings={json.dumps(plan.settings)}"]
    began = time.time()
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        raise SkipSection(f"no picture within {seconds:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise SkipSection(f"it failed: {error.stderr.strip().splitlines()[-1:]}") from None
    moments: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"began": began, **moments}
