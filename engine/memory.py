"""How much memory a device has, and whether an error means that it ran out. Knows no networks."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux tells how much memory a container may use."""


def free_bytes(device: torch.device) -> int:
    """Bytes that new tensors on ``device`` may take now, what torch holds in its own cache included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    return min([int(psutil.virtual_memory().available), *_free_in_container(CGROUPS)])


def _free_in_container(folder: Path) -> list[int]:
    """What the limit of this process's container leaves, if there is one; cached files count as free, as they are."""
    versions = (
        (folder, "memory.max", "memory.current", "inactive_file"),
        (folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for where, limit_name, used_name, cached_name in versions:
        try:
            limit, used = (int((where / name).read_text()) for name in (limit_name, used_name))
            statistics = dict(line.split() for line in (where / "memory.stat").read_text().splitlines())
            return [max(0, limit - used + int(statistics.get(cached_name, 0)))]
        except (OSError, ValueError):  # no such version here, or "max": no limit
            continue
    return []


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out; torch has a type of its own for that on devices, none on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def release_cached(device: torch.device) -> None:
    """Give memory that torch caches back to ``device``, so that a smaller call may fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
