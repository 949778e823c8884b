"""Profiles a step and a decode by kernel: where the device's time goes, and its share of what the card could do."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.census import Attention, Convolution, Product
from benchmarks.gpu.timing import Call
from engine import Engine, EngineConfig, GenerationRequest

_TIMES = 5
_QUIET = 2.0
_KINDS = (
    ("attention", ("flash", "fmha", "attention", "sdpa")),
    ("convolution", ("conv", "implicit", "fprop", "dgrad", "winograd", "nhwc", "nchw")),
    ("product", ("gemm", "cutlass", "nvjet", "cublas", "splitk")),
    ("norm, activation", ("norm", "moments", "scales", "apply", "gated", "silu")),
    ("copy, sum", ("add", "interleave", "copy", "cat", "elementwise", "memcpy", "memset", "fill", "reduce")),
)


def picture(bench: Bench) -> Any:
    """Return where the device is idle while the engine makes one picture alone, and how long it takes in all."""
    request = GenerationRequest(width=64, height=64, steps=2) if bench.simulated else GenerationRequest()
    config = EngineConfig(checkpoint=bench.checkpoint_path, device=bench.device.type)
    with Engine(config) as engine:
        engine.generate(request)
        _wait_for_chores(engine, most=bench.left / 3)
        for _ in range(_TIMES):
            begin = time.perf_counter()
            engine.generate(request)
            seconds = time.perf_counter() - begin
        if bench.simulated:
            return {"seconds": seconds}
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            engine.generate(request)
            torch.cuda.synchronize()
    return {"seconds": seconds} | _idle(_events(profiler))


def _wait_for_chores(engine: Engine, most: float) -> None:
    """Until nothing was prepared for a while, or that many seconds are over."""
    ends, before = time.monotonic() + most, -1
    while before != (before := engine.counts["shapes"]) and time.monotonic() < ends:
        time.sleep(_QUIET)


def _idle(events: Sequence[tuple[int, int, str]]) -> dict[str, Any]:
    """The gaps between events, the longest first: microseconds, after what and before what."""
    gaps, reached, last = [], events[0][0], ""
    for begin, end, name in events:
        if begin > reached:
            gaps.append(((begin - reached) / 1000, last, name))
        if end > reached:
            reached, last = end, name
    whole = (reached - events[0][0]) / 1e9
    return {
        "span": whole,
        "idle": sum(gap for gap, *_ in gaps) / 1e6,
        "launches": len(events),
        "gaps": [
            {"microseconds": gap, "after": before[:80], "before": after[:80]}
            for gap, before, after in sorted(gaps, reverse=True)[:60]
        ],
    }


def run(bench: Bench) -> Any:
    """Return the kernels of a step of 2 and 16 rows and of a decode, by kind, each with seconds and launches."""
    calls = {"step": bench.step(2), "step of 16 rows": bench.step(16), "decode": bench.decode(1)}
    with torch.inference_mode():
        return {name: _profiled(bench, call) for name, call in calls.items()}


def _profiled(bench: Bench, call: Call) -> Any:
    census = bench.census(call)
    operations = {
        name: sum(each.operations * count for each, count in census.of(kind).items())
        for name, kind in (("convolution", Convolution), ("product", Product), ("attention", Attention))
    }
    floors = {name: count / bench.ceilings.matmul for name, count in operations.items()}
    return {"floors": floors, "kernels": [] if bench.simulated else _kernels(call)}


def _kernels(call: Call) -> list[dict[str, Any]]:
    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(_TIMES):
            call()
        torch.cuda.synchronize()
    seconds: defaultdict[str, float] = defaultdict(float)
    launches: Counter[str] = Counter()
    for began, ended, name in _events(profiler):
        seconds[name] += (ended - began) / 1e9 / _TIMES
        launches[name] += 1
    return [
        {"kernel": name[:200], "kind": kind_of(name), "seconds": spent, "launches": launches[name] / _TIMES}
        for name, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]


def _events(profiler: profile) -> list[tuple[int, int, str]]:
    """What ran on the device, in its order: begin and end in nanoseconds, and the name."""
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    events = results.events() if results is not None else ()
    own = (event for event in events if str(event.device_type()).endswith("CUDA"))
    return sorted((event.start_ns(), event.start_ns() + event.duration_ns(), event.name()) for event in own)


def kind_of(kernel: str) -> str:
    """Return what a kernel does, by its name."""
    name = kernel.lower()
    return next((kind for kind, words in _KINDS if any(word in name for word in words)), "other")
