"""Makes reports for tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks.reports.figures import Figure
from benchmarks.reports.report import Report
from benchmarks.suite.plan import Plan

MACHINE = {"device": "a device", "versions": {"torch": "2"}, "commit": "abc"}


def figure(name: str, subject: str = "engine float16", section: str = "latency", **fields: Any) -> Figure:
    defaults: dict[str, Any] = {"unit": "s", "better": "lower", "samples": (1.0,)}
    return Figure(section=section, name=name, subject=subject, **(defaults | fields))


def around(middle: float, count: int, seed: int, noise: float = 0.02) -> tuple[float, ...]:
    """Give values like those of a clock: log-normal around ``middle``, with a slow one now and then."""
    choose = random.Random(seed)
    return tuple(
        middle * choose.lognormvariate(0, noise) * (1.5 if choose.random() < 0.03 else 1.0) for _ in range(count)
    )


def plan(tmp_path: Path, **fields: Any) -> Plan:
    defaults: dict[str, Any] = {
        "device": "cuda",
        "dtypes": ("float16",),
        "checkpoint": tmp_path / "some.safetensors",
        "synthetic": True,
    }
    return Plan(**(defaults | fields))


def report(tmp_path: Path, *figures: Figure, name: str = "report", **fields: Any) -> Report:
    made = Report(path=tmp_path / f"{name}.json", plan=plan(tmp_path, **fields).as_json(), machine=dict(MACHINE))
    made.checkpoint = {"what": "weights", "file": "some.safetensors", "bytes": 1}
    made.add(*figures)
    return made
