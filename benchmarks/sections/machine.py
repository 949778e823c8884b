"""What the machine can do at best, and how fast a picture could be there."""

from __future__ import annotations

import torch

from benchmarks.bench import Bench
from benchmarks.floor import floor_rate, floor_seconds
from benchmarks.machine import measure_peaks


def run(bench: Bench, seconds: float) -> None:
    """The rate of a large matrix product and of a large copy in each precision, and the floors that follow."""
    plan, work = bench.plan, bench.work
    side = 256 if plan.quick else None
    for name in plan.dtypes:
        dtype: torch.dtype = getattr(torch, name)
        peaks = measure_peaks(bench.device, dtype, side)
        ceilings = bench.ceilings[name] = peaks.ceilings
        bench.figure("machine", "matrix product", name, [rate / 1e12 for rate in peaks.matmul], "TFLOP/s", "higher")
        bench.figure("machine", "copy", name, [rate / 1e9 for rate in peaks.bandwidth], "GB/s", "higher")
        floor = floor_seconds(work, ceilings, plan.scale.steps, dtype.itemsize)
        bench.figure("machine", "floor of a picture", name, [floor], "s")
        bench.figure("machine", "ceiling of the load", name, [floor_rate(work, ceilings, plan.scale.steps)], "images/s")
    parts = {"step": work.step, "decode": work.decode, "encode": work.encode, "picture": work.picture(plan.scale.steps)}
    for part, operations in parts.items():
        bench.figure("machine", f"work: {part}", "any", [operations / 1e12], "TFLOP")
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
