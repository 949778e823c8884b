"""What a setting of the engine gains or costs, alone and under load: exact and fast batching, compiled or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from benchmarks.bench import Bench, SkipSection
from benchmarks.drive import paint_timed
from benchmarks.plan import Variant
from benchmarks.sections.load import prime, serve, window_seconds
from benchmarks.worker import Worker, WorkerFailed
from benchmarks.workloads import alone


def run(bench: Bench, seconds: float) -> None:
    """Each variant of the plan in an engine of its own: alone in turns, then under load one after the other."""
    plan = bench.plan
    subjects = {bench.engine(variant=variant).name: variant for variant in plan.variants}
    workers = bench.open([bench.engine(variant=variant) for variant in plan.variants])
    _alone(bench, workers, subjects, seconds / 3)
    for worker in workers:
        name = worker.subject.name
        try:
            _load(bench, worker, subjects[name], seconds / len(workers) / 2)
        except (SkipSection, WorkerFailed) as reason:
            bench.report.skip(f"variants: {name} under load", str(reason))
        bench.crew.release([name])


def _alone(bench: Bench, workers: Sequence[Worker], variants: Mapping[str, Variant], seconds: float) -> None:
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


def _load(bench: Bench, worker: Worker, variant: Variant, seconds: float) -> None:
    clients = bench.plan.clients
    prime(bench, worker)
    window = window_seconds(bench, worker, clients, seconds)
    found = serve(bench, worker, clients, window, seed=60)
    conditions = {"clients": clients, **dict(variant.settings)}
    bench.figure("variants", "pictures", "engine", found, "images/s", "higher", **conditions)
