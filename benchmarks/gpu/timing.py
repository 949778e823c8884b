"""Times calls side by side: what each variant launches is recorded as one graph, and the variants run by turns.

So the host's speed does not count, and whatever drifts on the machine drifts for all.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from benchmarks.measuring.samples import median

Call = Callable[[], object]

_ROUNDS = 12


def by_turns(
    device: torch.device, variants: Mapping[str, Sequence[Call]], rounds: int = _ROUNDS
) -> tuple[dict[str, float], dict[str, str]]:
    """Return each variant's median seconds a call, and of those that failed why.

    A variant's calls do the same work on tensors of their own, so that none finds what the one before left in a cache.
    """
    replays: dict[str, Call] = {}
    failed: dict[str, str] = {}
    for name, calls in variants.items():
        try:
            replays[name] = _recorded(device, calls)
        except Exception as error:  # a shape that a kernel does not take, or no memory: the other variants go on
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
    spent: dict[str, list[float]] = {name: [] for name in replays}
    for turn in range(rounds):
        names = list(replays)
        for name in names[turn % len(names) :] + names[: turn % len(names)] if names else ():
            spent[name].append(_seconds(device, replays[name]) / len(variants[name]))
    replays.clear()
    gc.collect()
    return {name: median(samples) for name, samples in spent.items()}, failed


def _recorded(device: torch.device, calls: Sequence[Call]) -> Call:
    """All calls as one: a CUDA graph, or on a CPU one after the other."""

    def every() -> None:
        for call in calls:
            call()

    if device.type != "cuda":
        every()
        return every
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        every()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        every()
    graph.replay()
    torch.cuda.synchronize(device)
    return graph.replay


def _seconds(device: torch.device, replay: Call) -> float:
    if device.type != "cuda":
        begin = time.perf_counter()
        replay()
        return time.perf_counter() - begin
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    replay()
    after.record()
    torch.cuda.synchronize(device)
    return float(before.elapsed_time(after)) / 1000
