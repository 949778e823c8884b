"""How much memory a device has free, and what its errors mean. Knows no networks."""

from __future__ import annotations

import psutil
import torch

from engine.device.container import free_memory


def free_bytes(device: torch.device) -> int:
    """Bytes that new tensors on ``device`` may take now, what torch holds in its own cache included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    machine = int(psutil.virtual_memory().available)
    container = free_memory()
    return machine if container is None else min(machine, container)


def total_bytes(device: torch.device) -> int:
    """Return the bytes that ``device`` has in all, whatever holds them now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return int(psutil.virtual_memory().total)


def out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that memory ran out; torch has a type of its own for that on devices, none on the
    CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def device_lost(error: BaseException) -> bool:
    """Return whether ``error`` says that the device failed: then every later call on it fails too, in this process."""
    return isinstance(error, torch.AcceleratorError) and "out of memory" not in str(error)


def release_cached(device: torch.device) -> None:
    """Give memory that torch caches back to ``device``, so that a smaller call may fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
