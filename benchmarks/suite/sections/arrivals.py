"""Measures latency when requests arrive at random times, whether or not the earlier ones are done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.measuring.callers import TimedRequest, open_loop
from benchmarks.measuring.samples import median, paired, percentile
from benchmarks.measuring.workloads import Mixed, arrivals
from benchmarks.subjects.worker import Worker
from benchmarks.suite.sections.load import note_failures, prime
from benchmarks.suite.workbench import SkipSection, Workbench

_LEAST = 6  # fewest arrivals for a percentile
_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # round rates in a decade


def run(bench: Workbench, seconds: float) -> None:
    """Measure the engine at several rates, the lowest first, and an earlier one beside it with the same arrivals."""
    plan = bench.plan
    workers = bench.open([bench.engine(), *bench.earlier()])
    if not workers:
        raise SkipSection("no engine could be opened")
    for worker in workers:
        prime(bench, worker, plan.clients)
    low, high = plan.window
    rates = plan.rates or rates_below(0.95 * _capacity(bench, bench.engine().name), plan.arrival_rates)
    turns = plan.turns if len(workers) > 1 else 1
    share = seconds / len(rates) / len(workers) / turns
    for number, rate in enumerate(rates):
        window = max(_LEAST / rate, min(max(share * 0.8, low), high))
        try:
            bench.ask_time(1.5 * window * len(workers) * turns)
        except SkipSection as reason:
            bench.report.skip(f"arrivals: {rate:g} a second", str(reason))
            continue
        found: dict[str, list[list[TimedRequest]]] = {worker.subject.name: [] for worker in workers}
        for turn in range(turns):
            for worker in workers if turn % 2 == 0 else workers[::-1]:
                found[worker.subject.name].append(_arrive(bench, worker, rate, window, seed=number + 100 * turn))
        for name, requests in found.items():
            _report(bench, name, [request for turn_requests in requests for request in turn_requests], rate)
        _compare(bench, found, rate)


def _arrive(bench: Workbench, worker: Worker, rate: float, window: float, seed: int) -> list[TimedRequest]:
    """Send requests at random times for ``window`` seconds; the same seed gives the same requests at the same times."""
    times = arrivals(rate, window, seed=seed)
    job = partial(open_loop, requests=Mixed(bench.plan.scale, 20 + seed), times=times, patience=4 * window)
    requests: list[TimedRequest] = bench.call(worker, job, window)
    note_failures(bench, worker.subject.name, requests)
    return requests


def _compare(bench: Workbench, found: dict[str, list[list[TimedRequest]]], rate: float) -> None:
    """Report how many times as fast the engine was as an earlier one: the quotient of medians, turn by turn."""
    ours = bench.engine().name
    for name in found.keys() - {ours} if ours in found else ():
        medians = {each: [median(served_seconds(turn)) for turn in found[each]] for each in (ours, name)}
        conditions: dict[str, Any] = {"beside": name, "arrivals a second": rate}
        quotients = paired(medians[ours], medians[name])
        bench.figure("arrivals", "times as fast, p50", ours, quotients, "×", "higher", **conditions)


def served_seconds(requests: Sequence[TimedRequest]) -> list[float]:
    """Give the latencies of the requests that were served."""
    return [request.seconds for request in requests if request.served]


def rates_below(most: float, count: int) -> list[float]:
    """Choose rising round rates up to ``most``, at least a third apart, so that two runs have rates in common."""
    decade = math.floor(math.log10(most))
    steps = [step * 10.0**power for power in (decade - 2, decade - 1, decade) for step in _STEPS]
    chosen: list[float] = []
    for rate in reversed([float(f"{step:.3g}") for step in steps if step <= most]):
        if not chosen or rate <= chosen[-1] / 1.3:
            chosen.append(rate)
    return chosen[:count][::-1]


def _report(bench: Workbench, name: str, requests: Sequence[TimedRequest], rate: float) -> None:
    conditions: dict[str, Any] = {"arrivals a second": rate}
    spent = served_seconds(requests)
    bench.figure("arrivals", "latency", name, spent, "s", "lower", **conditions)
    for part in (0.5, 0.95, 0.99):
        if spent:
            samples = [percentile(spent, part)]
            bench.figure("arrivals", f"latency p{part * 100:.0f}", name, samples, "s", "neither", **conditions)
    lost = sum(not request.served for request in requests) / max(1, len(requests))
    bench.figure("arrivals", "not served in time", name, [lost], "of 1", "neither", **conditions)


def _capacity(bench: Workbench, name: str) -> float:
    """Return the pictures a second of the best load that was measured, or of one after another if none was."""
    seen = [*bench.report.of("concurrency", "pictures"), *bench.report.of("load", "pictures")]
    rates = [figure.median for figure in seen if figure.subject == name]
    return max(rates, default=1 / bench.crew.alone[name])
