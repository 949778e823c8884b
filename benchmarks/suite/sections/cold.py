"""Measures the time from the start of a process to its first picture, with all files in the page cache."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring.samples import paired
from benchmarks.suite.workbench import SkipSection, Workbench

_MOST = 3
_ROOT = Path(__file__).resolve().parents[3]
_FIRST_PICTURE = _ROOT / "benchmarks" / "measuring" / "first_picture.py"


def run(bench: Workbench, seconds: float) -> None:
    """Start processes by turns: at least one and at most three of each version, after one that does not count."""
    _read_once(bench.plan.checkpoint)
    folders = {bench.engine().name: _ROOT}
    if bench.plan.earlier is not None:
        folders |= {subject.name: bench.plan.earlier for subject in bench.earlier()}
    if not bench.plan.quick:
        for folder in folders.values():
            _start(bench, folder, max(60.0, bench.budget.left()))
        bench.report.note("cold: an uncounted start read checkpoint and libraries into the page cache first")
    begin, starts = time.monotonic(), {name: list[dict[str, float]]() for name in folders}
    for number in range(1 if bench.plan.quick else _MOST):
        if number and (time.monotonic() - begin) * (1 + 1 / number) > seconds:
            break
        for name in list(folders)[:: 1 if number % 2 == 0 else -1]:
            starts[name].append(_start(bench, folders[name], max(60.0, bench.budget.left())))
    for name, found in starts.items():
        _report(bench, name, found)
    ours, *others = starts
    for other in others:
        whole = {name: [one["painted"] - one["began"] for one in starts[name]] for name in (ours, other)}
        quotients = paired(whole[ours], whole[other])
        bench.figure("cold", "times as fast to the first picture", ours, quotients, "×", "higher", beside=other)


def _report(bench: Workbench, subject: str, starts: Sequence[dict[str, float]]) -> None:
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


def _start(bench: Workbench, folder: Path, seconds: float) -> dict[str, float]:
    """Start a process with the engine of the checkout ``folder``; give the moments by the wall clock."""
    plan = bench.plan
    command = [sys.executable, str(_FIRST_PICTURE), str(plan.checkpoint.resolve())]
    command += [f"--device={plan.device}", f"--dtype={plan.dtype}"]
    command += [f"--size={plan.scale.size}", f"--steps={plan.scale.steps}", f"--settings={json.dumps(plan.settings)}"]
    began = time.time()
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        raise SkipSection(f"no picture within {seconds:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise SkipSection(f"the process failed: {error.stderr.strip().splitlines()[-1:]}") from None
    moments: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"began": began, **moments}
