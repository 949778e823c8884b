"""The names in ``EngineConfig`` → torch's own device and dtype, and what a picture's record says of them."""

from __future__ import annotations

import platform

import torch

from engine.config import EngineConfig
from engine.device.container import processors
from engine.errors import BadRequest


def torch_device(config: EngineConfig) -> torch.device:
    """Return the device that ``config`` names. Raises ``BadRequest`` for one that is not there."""
    cards = torch.cuda.device_count()
    if config.device == "auto":
        return torch.device("cuda", 0) if cards else torch.device("cpu")
    there = ["auto", "cpu", *(["cuda"] if cards else []), *(f"cuda:{n}" for n in range(cards))]
    if config.device not in there:
        raise BadRequest("device", config.device, f"one of {', '.join(there)}")
    return torch.device("cuda", 0) if config.device == "cuda" else torch.device(config.device)


def torch_dtype(config: EngineConfig, device: torch.device) -> torch.dtype:
    """Return the networks' dtype: what ``config`` names, else float16 on CUDA and float32 on a CPU."""
    name = config.dtype if config.dtype != "auto" else "float16" if device.type == "cuda" else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def settle(device: torch.device) -> None:
    """Leave nothing open that would change a result's bits: which algorithms are taken, and how they round.

    These are torch's settings for the whole process. The calling thread uses ``device`` from now on; on a CPU, no more
    threads than the container has processors, since threads that wait for each other by spinning are slower than none.
    """
    allowed = processors()
    if device.type == "cpu" and allowed is not None and allowed < torch.get_num_threads():
        torch.set_num_threads(allowed)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = False  # it would choose by time, another one each time
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def device_name(device: torch.device) -> str:
    """Return the device's own name, such as ``NVIDIA GeForce RTX 3090``; of a CPU what its kernels are chosen by."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
