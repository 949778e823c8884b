"""Describes this machine: its names, the versions that run on it, and its best rates."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.measuring.floor import Ceilings
from benchmarks.measuring.samples import median
from engine.device.devices import device_name

_VERSIONED = ("torch", "diffusers", "transformers", "numpy", "triton", "pillow", "safetensors")
_ROOT = Path(__file__).resolve().parent.parent.parent
_WARM, _TIMED = 3, 10


def describe(device: torch.device, commit: str | None = None) -> dict[str, Any]:
    """Give hardware, driver, versions and commit; ``commit`` replaces the one of the checkout."""
    facts: dict[str, Any] = {
        "device": _name(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in _VERSIONED if (version := _version(name)) is not None},
        "commit": commit or _commit() or "unknown",
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device_memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "driver": _nvidia("driver_version"),
            "power_limit_w": _nvidia("power.limit"),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Samples of the machine's best rates: operations and bytes a second."""

    matmul: list[float]
    bandwidth: list[float]

    @property
    def ceilings(self) -> Ceilings:
        """The medians of the samples."""
        return Ceilings(matmul=median(self.matmul), bandwidth=median(self.bandwidth))


def measure_peaks(device: torch.device, dtype: torch.dtype, side: int | None = None) -> Peaks:
    """Measure the steady rates of a large matrix product and of a large copy.

    Values are random, because zeros are faster on some devices. ``side`` is the matrix's; by default large.
    """
    side = side or (8192 if device.type == "cuda" else 1536)
    one = torch.randn(side, side, device=device).to(dtype)
    other = torch.randn(side, side, device=device).to(dtype)
    product = torch.empty_like(one)
    products = [2 * side**3 / spent for spent in _timed(device, lambda: torch.mm(one, other, out=product))]
    source = one.repeat(8, 1)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Peaks(matmul=products, bandwidth=[moved / spent for spent in _timed(device, lambda: target.copy_(source))])


def _timed(device: torch.device, work: Callable[[], object]) -> list[float]:
    """Time ``_TIMED`` runs, in seconds each, by the device's own clock if it has one."""
    for _ in range(_WARM):
        work()
    if device.type != "cuda":
        spent = []
        for _ in range(_TIMED):
            begin = time.perf_counter()
            work()
            spent.append(time.perf_counter() - begin)
        return spent
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(_TIMED + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize(device)
    return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(marks)]


def memory_bytes(device: torch.device) -> int:
    """Return the bytes of memory for networks and activations: all of a GPU's, or what is available to a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().available)


def _name(device: torch.device) -> str:
    return device_name(device) if device.type == "cuda" else f"CPU ({_processor()}, threads: {torch.get_num_threads()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    head = _output("git", "-C", str(_ROOT), "rev-parse", "HEAD")
    if head is None:
        return None
    return head + (" with changes" if _output("git", "-C", str(_ROOT), "status", "--porcelain", "-uno") else "")


def _nvidia(field: str) -> str | None:
    return _output("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", "--id=0")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
