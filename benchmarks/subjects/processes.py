"""Chooses how workers' processes start. Imports nothing large itself."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

_NEEDED = [
    "engine.engine",
    "benchmarks.subjects.peers.diffusers",
    "benchmarks.subjects.peers.diffusers_features",
    "benchmarks.measuring.throughput",
    "benchmarks.measuring.stages",
    "benchmarks.measuring.memory",
]


def context(device: str) -> SpawnContext | ForkServerContext:
    """Return how processes start: on a CPU forked from one that has imported everything, on a GPU bare.

    CUDA does not survive a fork.
    """
    if device != "cpu":
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload(_NEEDED)
    return multiprocessing.get_context("forkserver")


def preload() -> None:
    """Start the process that workers on a CPU are forked from, so that it imports while this one does."""
    multiprocessing.set_forkserver_preload(_NEEDED)
    forkserver.ensure_running()
