"""Runs a plan's sections one after another, even if some fail, and writes the report as it grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.measuring import machine
from benchmarks.measuring.floor import floor_seconds
from benchmarks.reports.plot import plot
from benchmarks.reports.report import Report
from benchmarks.reports.targets import judge, rtx3090
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.subject import NotHere, Subject
from benchmarks.subjects.worker import WorkerFailed
from benchmarks.suite.budget import Budget
from benchmarks.suite.plan import SECTIONS, Plan
from benchmarks.suite.sections import (
    arrivals,
    cold,
    concurrency,
    features,
    idle,
    latency,
    load,
    memory,
    precision,
    soak,
    stages,
    stalls,
    variants,
)
from benchmarks.suite.sections import machine as ceilings
from benchmarks.suite.workbench import SkipSection, Workbench

_CORES = 8
_UNDISTURBED = ("machine", "cold")
"""Sections that nothing may disturb: subjects are not opened ahead while one of these has yet to run."""

RUN: Mapping[str, Callable[[Workbench, float], None]] = {
    "machine": ceilings.run,
    "cold": cold.run,
    "latency": latency.run,
    "load": load.run,
    "concurrency": concurrency.run,
    "idle": idle.run,
    "stages": stages.run,
    "memory": memory.run,
    "arrivals": arrivals.run,
    "features": features.run,
    "stalls": stalls.run,
    "variants": variants.run,
    "precision": precision.run,
    "soak": soak.run,
}


def run(plan: Plan, path: Path, commit: str | None = None, tell: Callable[[str], None] = print) -> Report:
    """Measure what ``plan`` asks for and write the report to ``path`` (JSON) and its plot beside it (PNG).

    ``tell`` is called with lines of progress. A section that fails is named in the report and raises nothing.
    """
    device = torch.device(plan.device)
    report = Report(path=path, plan=plan.as_json(), machine=machine.describe(device, commit))
    report.checkpoint = {"what": _what(plan), "file": plan.checkpoint.name, "bytes": plan.checkpoint.stat().st_size}
    report.write()
    weights = {section: SECTIONS[section] for section in SECTIONS if section in plan.sections}
    bench = Workbench(
        plan=plan,
        report=report,
        budget=Budget(60 * plan.minutes, weights),
        crew=Crew(plan, report.skip, tell),
    )
    _tell_limits(plan, report)
    try:
        for section in weights:
            if not bench.budget.waiting & set(_UNDISTURBED):
                _start_ahead(bench)
            _section(bench, section, tell)
        report.complete = True
    finally:
        _finish(bench)
        bench.crew.close()
    return report


def _start_ahead(bench: Workbench) -> None:
    """Start to open every subject that later sections need, so that slow ones open in parallel."""
    if _has_room(bench):
        bench.crew.start(_later(bench))


def _later(bench: Workbench) -> list[Subject]:
    sections = set(bench.plan.sections) & bench.budget.waiting
    found = [*bench.engines(), *bench.peers] if {"latency", "load"} & sections else []
    found += load.fast_engines(bench) if "load" in sections else []
    return found + ([bench.engine(variant=one) for one in bench.plan.variants] if "variants" in sections else [])


def _has_room(bench: Workbench) -> bool:
    """Say whether there are cores to spare and all subjects fit into a GPU's memory together."""
    return bench.device.type == "cuda" and (os.cpu_count() or 1) >= _CORES and bench.fit(_later(bench))


def _finish(bench: Workbench) -> None:
    """Judge the targets and draw the plot."""
    report = bench.report
    try:
        _judge(bench)
    except Exception as error:  # a bug in judging must not lose the figures
        report.note(f"the targets could not be judged: {type(error).__name__}: {error}")
    report.write()
    try:
        plot(report.as_json(), report.path.with_suffix(".png"))
    except ImportError:
        report.skip("plot", "matplotlib is not installed (pip install '.[bench]')")


def _section(bench: Workbench, section: str, tell: Callable[[str], None]) -> None:
    seconds, begin = bench.budget.begin(section), time.monotonic()
    if bench.budget.left() <= 0:
        bench.report.skip(section, f"the {bench.plan.minutes:g} min were used up before it started")
        return
    tell(f"{section}: about {seconds:.0f} s of the {bench.budget.left():.0f} s that are left")
    try:
        RUN[section](bench, seconds)
    except (SkipSection, NotHere, WorkerFailed) as reason:
        bench.report.skip(section, str(reason))
        tell(f"{section}: not run: {reason}")
    except Exception as error:  # a bug in one section must not lose the others
        bench.report.skip(section, f"it failed: {type(error).__name__}: {error}")
        tell(f"{section}: failed: {error!r}")
    tell(f"{section}: took {time.monotonic() - begin:.0f} s")


def _judge(bench: Workbench) -> None:
    plan, report = bench.plan, bench.report
    name = report.machine["device"]
    report.verdicts = judge(report, plan, name, bench.work)
    if plan.target == "rtx3090":
        ceilings = bench.ceilings.get(plan.dtype)
        itemsize: int = getattr(torch, plan.dtype).itemsize
        floor = floor_seconds(bench.work, ceilings, plan.scale.steps, itemsize) if ceilings else None
        report.verdicts.insert(0, rtx3090(report, plan, name, bench.work, floor))


def _tell_limits(plan: Plan, report: Report) -> None:
    """Note in the report what a reader must know before comparing this run with another."""
    size = f"{plan.scale.size}×{plan.scale.size} and {plan.scale.steps} steps"
    if plan.quick:
        report.note(f"the smallest form: {size} show that the suite works; the times mean nothing")
    elif plan.device == "cpu":
        report.note(f"on a CPU: {size}, to end in time; compare ratios, not seconds")
    elif not plan.full_size:
        report.note(f"the targets are for 512×512 and 20 steps; this run was {size}")


def _what(plan: Plan) -> str:
    return f"{'synthetic weights' if plan.synthetic else 'a checkpoint'} ({plan.checkpoint.name})"
