"""Measures how much memory the engine takes at most, for one picture and under the heaviest load."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.measuring.memory import Memory, memory_now, peak_memory
from benchmarks.measuring.workloads import Alone, Mixed
from benchmarks.suite.workbench import Workbench


def run(bench: Workbench, seconds: float) -> None:
    """Measure inside the engine's process; other processes on the device are not included."""
    plan, subject = bench.plan, bench.engine()
    worker = bench.open_one(subject)
    alone = bench.crew.alone[subject.name]
    _keep(bench, subject.name, "at rest", bench.call(worker, memory_now, 1))
    for clients in (1, max(plan.levels)):
        requests = Alone(plan.scale, 7000) if clients == 1 else Mixed(plan.scale, 50)
        window = alone if clients == 1 else max(plan.window[0], min(seconds / 2, plan.window[1]), 3 * alone)
        bench.ask_time(window)
        job = partial(peak_memory, requests=requests, clients=clients, seconds=window)
        _keep(bench, subject.name, "at most", bench.call(worker, job, window), clients=clients)


def _keep(bench: Workbench, name: str, when: str, memory: Memory, **conditions: Any) -> None:
    for what, size in (("process", memory.process), ("tensors", memory.device), ("reserved", memory.reserved)):
        samples = [] if size is None else [size / 2**30]
        bench.figure("memory", f"{what} {when}", name, samples, "GiB", "lower", **conditions)
