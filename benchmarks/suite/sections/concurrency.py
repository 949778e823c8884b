"""Measures pictures a second for several numbers of callers, with default settings and with fast batching."""

from __future__ import annotations

from benchmarks.subjects.worker import Worker, WorkerFailed
from benchmarks.suite.plan import FAST
from benchmarks.suite.sections.load import keep, serve, times
from benchmarks.suite.workbench import SkipSection, Workbench


def run(bench: Workbench, seconds: float) -> None:
    """Measure every number of callers in ``plan.levels``; skip those that do not fit into the time."""
    worker, fast = bench.open_one(bench.engine()), bench.engine(variant=FAST)
    needed = sum(sum(times(bench, worker, clients)) for clients in bench.plan.levels)
    _levels(bench, worker, max(needed, seconds / 2))
    if 2 * needed > seconds:
        reason = f"the levels take about {needed:.0f} s, and the section has {seconds:.0f} s"
        bench.report.skip(f"concurrency: {fast.name}", reason)
        return
    _levels(bench, bench.open_one(fast), seconds / 2)
    bench.crew.release([fast.name])


def _levels(bench: Workbench, worker: Worker, seconds: float) -> None:
    levels, name = bench.plan.levels, worker.subject.name
    for number, clients in enumerate(levels):
        try:
            found = serve(bench, worker, clients, seconds / len(levels), seed=10 + number)
        except (SkipSection, WorkerFailed) as reason:
            bench.report.skip(f"concurrency: {name}, {clients} callers", str(reason))
            continue
        keep(bench, "concurrency", name, [found], clients=clients)
