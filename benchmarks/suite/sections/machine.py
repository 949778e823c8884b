"""Measures what the machine can do at best, and computes how fast a picture could be on it."""

from __future__ import annotations

import torch

from benchmarks.measuring.floor import floor_rate, floor_seconds
from benchmarks.measuring.machine import measure_peaks
from benchmarks.suite.workbench import Workbench


def run(bench: Workbench, seconds: float) -> None:
    """Measure a large matrix product and a large copy in each precision, and report the floors that follow."""
    plan = bench.plan
    side = 256 if plan.quick else None
    for name in plan.dtypes:
        peaks = measure_peaks(bench.device, getattr(torch, name), side)
        bench.ceilings[name] = peaks.ceilings
        bench.figure("machine", "matrix product", name, [rate / 1e12 for rate in peaks.matmul], "TFLOP/s", "higher")
        bench.figure("machine", "copy", name, [rate / 1e9 for rate in peaks.bandwidth], "GB/s", "higher")
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    work, steps = bench.work, plan.scale.steps
    for name, ceilings in bench.ceilings.items():
        floor = floor_seconds(work, ceilings, steps, getattr(torch, name).itemsize)
        bench.figure("machine", "floor of a picture", name, [floor], "s")
        bench.figure("machine", "ceiling of the load", name, [floor_rate(work, ceilings, steps)], "images/s")
    parts = {"step": work.step, "decode": work.decode, "encode": work.encode, "picture": work.picture(steps)}
    for part, operations in parts.items():
        bench.figure("machine", f"work: {part}", "any", [operations / 1e12], "TFLOP")
