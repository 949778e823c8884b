"""Measures which share of the GPU's time is idle under load."""

from __future__ import annotations

from functools import partial

from benchmarks.measuring.stages import observe_idleness
from benchmarks.measuring.workloads import Mixed
from benchmarks.suite.sections.load import prime, times
from benchmarks.suite.workbench import SkipSection, Workbench


def run(bench: Workbench, seconds: float) -> None:
    """Measure with ``plan.clients`` callers, by events on the GPU and by the profiler."""
    if bench.device.type != "cuda":
        raise SkipSection("there is no GPU")
    subject, clients = bench.engine(), bench.plan.clients
    worker = bench.open_one(subject)
    prime(bench, worker, clients)
    window = max(sum(times(bench, worker, clients)), min(seconds / 3, bench.plan.window[1]))
    bench.ask_time(2 * window)
    job = partial(
        observe_idleness, requests=Mixed(bench.plan.scale, 40), clients=clients, seconds=window, stagger=window / 4
    )
    found = bench.call(worker, job, 2 * window + 30)
    shares = {"between steps": found.between_steps, "without a kernel": found.of_kernels}
    for name, share in shares.items():
        samples = [] if share is None else [share]
        bench.figure("idle", name, subject.name, samples, "of 1", "lower", clients=clients)
