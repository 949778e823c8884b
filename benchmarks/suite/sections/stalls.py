"""Measures how long a caller's steps wait while another caller has something large done: the longest stall."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, get_args

from benchmarks.measuring.samples import median
from benchmarks.measuring.stalls import Stall, Task, observe_stall
from benchmarks.measuring.workloads import alone
from benchmarks.subjects.synthetic_parts import synthetic_parts
from benchmarks.subjects.worker import WorkerFailed
from benchmarks.suite.workbench import SkipSection, Workbench

TASKS: tuple[Task, ...] = get_args(Task)

_LARGEST = 2048
_TIMES = 8
"""The side of the large pictures over that of the plan's, unless that is more than ``_LARGEST``."""

_LONGEST = 100.0
"""What a task takes, over a plain picture, about: coding a picture with 64 times the pixels, beside others' steps."""


def run(bench: Workbench, seconds: float) -> None:
    """Do each task once beside one caller, in each precision of the plan."""
    plan = bench.plan
    parts = synthetic_parts(plan.checkpoint, plan.scale.size)
    side = min(_LARGEST, _TIMES * plan.scale.size)
    bench.crew.release(subject.name for subject in bench.engines())
    for dtype in plan.dtypes:
        engine = bench.engine(dtype)
        settings = dict(engine.settings) | {"models_folders": [str(parts.folder)]}
        subject = replace(engine, name=f"engine {dtype} with files", settings=settings, inputs=parts.folder)
        worker = bench.open_one(subject)
        for number, task in enumerate(TASKS):
            request = alone(plan.scale, 8000 + number)
            job = partial(observe_stall, task=task, request=request, side=side, lora=parts.lora)
            try:
                bench.ask_time(0)
                _report(
                    bench, engine.name, task, side, bench.call(worker, job, _LONGEST * bench.crew.alone[subject.name])
                )
            except (SkipSection, WorkerFailed) as reason:
                bench.report.skip(f"stalls: {engine.name}, {task}", str(reason))
        bench.crew.release([subject.name])


def _report(bench: Workbench, name: str, task: Task, side: int, stall: Stall) -> None:
    conditions: dict[str, Any] = {"task": task, "side": side}
    usual = median(stall.usual)
    bench.figure("stalls", "the task", name, [stall.seconds], "s", **conditions)
    bench.figure("stalls", "a step before it", name, stall.usual, "s", **conditions)
    bench.figure("stalls", "a step meanwhile", name, stall.meanwhile, "s", **conditions)
    bench.figure("stalls", "longest gap between steps", name, [stall.gap], "s", "lower", **conditions)
    bench.figure("stalls", "longest gap over a step", name, [stall.gap / usual], "×", "lower", **conditions)
    if bench.device.type == "cpu":  # other work on the machine hardly changes this
        samples = [stall.processor_gap]
        bench.figure("stalls", "longest gap by processor time", name, samples, "s", "lower", **conditions)
