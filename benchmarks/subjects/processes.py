"""How workers' processes start. Knows nothing of what they do, and imports nothing large."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

_NEEDED = [
    "engine.engine",
    "benchmarks.subjects.peers.diffusers",
    "benchmarks.measuring.throughput",
    "benchmarks.measuring.stages",
    "benchmarks.measuring.memory",
]


def context(device: str) -> SpawnContext | ForkServerContext:
    """On a CPU, forked from a process that has imported everything; else bare, since CUDA survives no fork."""
    if device != "cpu":
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload(_NEEDED)
    return multiprocessing.get_context("forkserver")


def preload() -> None:
    """Let the process that workers on a CPU are forked from begin to import, while this one does so too."""
    multiprocessing.set_forkserver_preload(_NEEDED)
    forkserver.ensure_running()
