"""Measures what settings of the engine gain or cost, alone and under load: exact and fast batching, compiled or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from benchmarks.measuring.callers import paint_timed
from benchmarks.measuring.workloads import alone
from benchmarks.subjects.worker import Worker
from benchmarks.suite.plan import Variant
from benchmarks.suite.sections.load import in_turns, keep
from benchmarks.suite.workbench import Workbench

_ALONE = 5  # pictures alone take this part of the time


def run(bench: Workbench, seconds: float) -> None:
    """Measure each variant of the plan in an engine of its own, by turns: alone, then under load.

    Ways of batching come first; other settings get one window in the time that is left.
    """
    plan = bench.plan
    subjects = {bench.engine(variant=variant).name: variant for variant in plan.variants}
    workers = bench.open([bench.engine(variant=variant) for variant in plan.variants])
    _alone(bench, workers, subjects, bench.budget.share("variants") / _ALONE)
    batching = [worker for worker in workers if "batching" in dict(subjects[worker.subject.name].settings)]
    others = [worker for worker in workers if worker not in batching]
    for group, turns in ((batching, plan.turns), (others, 1)):
        found = in_turns(bench, "variants", group, bench.budget.share("variants"), turns)
        for name, windows in found.items():
            settings = dict(subjects[name].settings)
            keep(bench, "variants", "engine", list(windows.values()), clients=plan.clients, **settings)
        bench.crew.release([worker.subject.name for worker in group])


def _alone(bench: Workbench, workers: Sequence[Worker], variants: Mapping[str, Variant], seconds: float) -> None:
    least, most = bench.plan.rounds
    one_round = sum(bench.crew.alone[worker.subject.name] for worker in workers)
    spent: dict[str, list[float]] = {worker.subject.name: [] for worker in workers}
    for number in range(max(least, min(most, int(seconds / one_round))) if workers else 0):
        bench.ask_time(one_round)
        for worker in workers:
            job = partial(paint_timed, request=alone(bench.plan.scale, 9000 + number))
            expected = bench.crew.alone[worker.subject.name]
            spent[worker.subject.name].append(bench.call(worker, job, expected).seconds)
    for name, found in spent.items():
        bench.figure("variants", "a picture", "engine", found, "s", "lower", **dict(variants[name].settings))
