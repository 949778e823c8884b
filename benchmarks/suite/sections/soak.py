"""Measures whether memory grows over many mixed requests, from after the first tenth to the end."""

from __future__ import annotations

from functools import partial
from itertools import islice

from benchmarks.measuring.callers import paint_all
from benchmarks.measuring.memory import memory_now
from benchmarks.measuring.workloads import Mixed, Scale
from benchmarks.suite.workbench import SkipSection, Workbench

_LEAST = 50


def run(bench: Workbench, seconds: float) -> None:
    """Make ``plan.soak`` requests of few steps, or as many as fit; caches fill during the first tenth."""
    plan, subject = bench.plan, bench.engine()
    worker = bench.open_one(subject)
    size = plan.scale.size if bench.device.type == "cuda" else 64
    source = iter(Mixed(Scale(size=size, steps=1), 70))
    first = bench.call(worker, partial(paint_all, requests=list(islice(source, 10)), clients=plan.clients), 30)
    count = min(plan.soak, int(seconds / (first / 10)))
    if count < min(_LEAST, plan.soak):
        raise SkipSection(f"{_LEAST} requests take about {_LEAST * first / 10:.0f} s, its share is {seconds:.0f} s")
    filling, rest = list(islice(source, count // 10)), list(islice(source, count - count // 10))
    bench.call(worker, partial(paint_all, requests=filling, clients=plan.clients), seconds)
    before = bench.call(worker, memory_now, 1)
    bench.call(worker, partial(paint_all, requests=rest, clients=plan.clients), seconds)
    after = bench.call(worker, memory_now, 1)
    grown = {"process": after.process - before.process}
    if before.device is not None and after.device is not None:
        grown["tensors"] = after.device - before.device
    for what, size in grown.items():
        bench.figure("soak", f"{what} grown", subject.name, [size / 2**20], "MiB", "lower")
    bench.figure("soak", "requests", subject.name, [count], "")
