"""Measures where the time of one picture goes: encode, sample, decode, PNG, and the rest."""

from __future__ import annotations

from functools import partial
from itertools import islice

from benchmarks.measuring.stages import Stages, observe_stages
from benchmarks.measuring.workloads import Alone
from benchmarks.suite.workbench import Workbench


def run(bench: Workbench, seconds: float) -> None:
    """Measure the stages of pictures made one by one, by the device's own clock."""
    subject = bench.engine()
    worker = bench.open_one(subject)
    alone = bench.crew.alone[subject.name]
    count = max(1, min(bench.plan.rounds[1], int(seconds / alone)))
    bench.ask_time(alone)
    requests = list(islice(Alone(bench.plan.scale, 5000), count))
    found = bench.call(worker, partial(observe_stages, requests=requests), count * alone)
    for stage in ("encode", "sample", "decode", "rest", "png"):
        bench.figure("stages", stage, subject.name, [getattr(one, stage) for one in found], "s", "lower")
    steps = [step for one in found for step in one.steps]
    bench.figure("stages", "a step", subject.name, steps, "s", "lower")
    rates = [len(one.steps) / one.sample for one in found if one.sample > 0]
    bench.figure("stages", "steps a second", subject.name, rates, "steps/s", "higher")
    bench.figure("stages", "encode, sample and decode", subject.name, _together(found), "s", "lower")


def _together(found: list[Stages]) -> list[float]:
    return [one.encode + one.sample + one.decode for one in found]
