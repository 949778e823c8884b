"""Measures the memory that a subject takes. Runs in the subject's process."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from benchmarks.measuring.callers import closed_loop
from benchmarks.subjects.subject import Subject
from engine import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes in use in the subject's process."""

    process: int
    """Resident in the CPU's memory."""
    device: int | None = None
    """Allocated for tensors on the GPU."""
    reserved: int | None = None
    """Held by torch on the GPU, including its cache."""


def memory_now(_: Subject) -> Memory:
    """Return what is in use after everything that can be freed has been."""
    gc.collect()
    resident = psutil.Process().memory_info().rss
    if not _on_cuda():
        return Memory(process=resident)
    torch.cuda.synchronize()
    return Memory(process=resident, device=torch.cuda.memory_allocated(), reserved=torch.cuda.memory_reserved())


def peak_memory(subject: Subject, requests: Iterable[GenerationRequest], clients: int, seconds: float) -> Memory:
    """Return the most that is in use while ``clients`` callers are served for ``seconds``; one caller asks once."""
    if _on_cuda():
        torch.cuda.reset_peak_memory_stats()
    _reset_resident_peak()
    if clients == 1:
        subject.paint(next(iter(requests)))
    else:
        closed_loop(subject, requests, clients, seconds, stagger=0.0, seed=3)
    resident = _resident_peak()
    if not _on_cuda():
        return Memory(process=resident)
    return Memory(process=resident, device=torch.cuda.max_memory_allocated(), reserved=torch.cuda.max_memory_reserved())


def _on_cuda() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()


def _reset_resident_peak() -> None:
    with suppress(OSError):  # if it cannot be reset, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def _resident_peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return int(psutil.Process().memory_info().rss)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
