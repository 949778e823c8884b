"""Latency against the rate at which requests arrive, whether or not the earlier ones are done."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from benchmarks.measuring.callers import Visit, open_loop
from benchmarks.measuring.samples import percentile
from benchmarks.measuring.workloads import Mixed, arrivals
from benchmarks.suite.bench import Bench, SkipSection
from benchmarks.suite.sections.load import prime, tell_failures

_LEAST = 6  # arrivals that are worth a percentile
_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # of a decade


def run(bench: Bench, seconds: float) -> None:
    """The engine at several rates up to what it was seen to serve, the lowest first."""
    plan, subject = bench.plan, bench.engine()
    worker = bench.open_one(subject)
    prime(bench, worker, plan.clients)
    low, high = plan.window
    chosen = rates_below(0.95 * _capacity(bench, subject.name), plan.arrival_rates)
    for number, rate in enumerate(chosen):
        window = max(_LEAST / rate, min(max(seconds / len(chosen) * 0.8, low), high))
        patience = 4 * window
        try:
            bench.ask_time(1.5 * window)
        except SkipSection as reason:
            bench.report.skip(f"arrivals: {rate:g} a second", str(reason))
            continue
        times = arrivals(rate, window, seed=number)
        job = partial(open_loop, requests=Mixed(plan.scale, 20 + number), times=times, patience=patience)
        visits: list[Visit] = bench.call(worker, job, window)
        tell_failures(bench, subject.name, visits)
        _report(bench, subject.name, visits, rate)


def rates_below(most: float, count: int) -> list[float]:
    """Rising round rates up to ``most``, about a third apart at least, so that two runs have rates in common."""
    decade = math.floor(math.log10(most))
    steps = [step * 10.0**power for power in (decade - 2, decade - 1, decade) for step in _STEPS]
    chosen: list[float] = []
    for rate in reversed([float(f"{step:.3g}") for step in steps if step <= most]):
        if not chosen or rate <= chosen[-1] / 1.3:
            chosen.append(rate)
    return chosen[:count][::-1]


def _report(bench: Bench, name: str, visits: list[Visit], rate: float) -> None:
    conditions: dict[str, Any] = {"arrivals a second": rate}
    spent = [visit.seconds for visit in visits if visit.served]
    bench.figure("arrivals", "latency", name, spent, "s", "lower", **conditions)
    for part in (0.5, 0.95, 0.99):
        if spent:
            samples = [percentile(spent, part)]
            bench.figure("arrivals", f"latency p{part * 100:.0f}", name, samples, "s", "neither", **conditions)
    lost = sum(not visit.served for visit in visits) / max(1, len(visits))
    bench.figure("arrivals", "not served in time", name, [lost], "of 1", "neither", **conditions)


def _capacity(bench: Bench, name: str) -> float:
    """Pictures a second at the best of the loads that were run; one after another where none was."""
    seen = [*bench.report.of("concurrency", "pictures"), *bench.report.of("load", "pictures")]
    rates = [figure.median for figure in seen if figure.subject == name]
    return max(rates, default=1 / bench.crew.alone[name])
