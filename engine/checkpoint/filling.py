"""The tensors of a file → the weights of modules, converted and checked. Knows no layout and no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from engine.checkpoint.shapes import Part
from engine.checkpoint.weights import Weights
from engine.device.memory import out_of_memory
from engine.errors import BrokenCheckpoint, OutOfMemory

_CHUNK = 1 << 15
"""Values converted at a time: they stay in the processor's cache, and torch does such a piece on one thread. Its
threads wait for each other by spinning, which takes ten times as long while another thread is sampling."""


def fill(path: Path, weights: Weights, parts: Sequence[Part], device: torch.device, dtype: torch.dtype) -> None:
    """Give the modules of ``parts``, which have no weights yet, those of the file in ``path``, on ``device``.

    Raises ``BrokenCheckpoint`` for values that cannot be read or are not finite as ``dtype``, and ``OutOfMemory``.
    """
    try:
        _fill(path, weights, parts, device, dtype)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        size = sum(map(parameters_of, parts)) * dtype.itemsize
        raise OutOfMemory(f"{path}: its {size:,} bytes as {dtype} do not fit into the memory of {device}") from error


def parameters_of(part: Part) -> int:
    """Return how many values the parameters of ``part`` have."""
    return sum(parameter.numel() for parameter in part.module.parameters())


def _fill(path: Path, weights: Weights, parts: Sequence[Part], device: torch.device, dtype: torch.dtype) -> None:
    owners = {part.names[name]: (part.module, name) for part in parts for name, _ in part.module.named_parameters()}
    for name in [name for name in weights.shapes if name in owners]:  # the file's order, so that the disk reads ahead
        module, parameter = owners[name]
        shape = module.get_parameter(parameter).shape
        try:
            stored = weights.take(name)
        except Exception as error:
            raise BrokenCheckpoint(path, f"its tensor {name} cannot be read ({error})") from error
        value, finite = _copied(stored.reshape(shape), device, dtype)
        if not finite:
            raise BrokenCheckpoint(path, _what_is_not_finite(name, stored, dtype))
        _assign(module, parameter, nn.Parameter(value, requires_grad=False))
    for part in parts:
        for name, buffer in list(part.module.named_buffers()):
            assert name.endswith("position_ids"), name  # the one buffer; it counts up, whatever files say
            _assign(part.module, name, torch.arange(buffer.shape[-1], device=device)[None])
        part.module.eval()


def _assign(module: nn.Module, name: str, value: torch.Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, value)


def _copied(stored: torch.Tensor, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, bool]:
    """``stored`` on ``device`` as ``dtype``, and whether all its values are finite there.

    Never a view of the mapping, whatever the dtype: touching a page of a file that was cut short since kills the
    process, and a file that is written over would change a resident model.
    """
    if device.type != "cpu":
        value = stored.to(device).to(dtype)
        return value, _is_finite(value)
    value, finite = torch.empty(stored.shape, dtype=dtype), True
    flat_value, flat_stored = value.view(-1), stored.reshape(-1)
    by_float32 = stored.dtype != dtype and stored.dtype.itemsize == dtype.itemsize == 2  # exact, and thrice as fast
    for start in range(0, stored.numel(), _CHUNK):
        source, target = flat_stored[start : start + _CHUNK], flat_value[start : start + _CHUNK]
        target.copy_(source.float() if by_float32 else source)
        finite = finite and _is_finite(target)
    return value, finite


def _is_finite(value: torch.Tensor) -> bool:
    low, high = value.aminmax()  # NaN if any value is; a tenth of what isfinite costs
    return math.isfinite(low) and math.isfinite(high)


def _what_is_not_finite(name: str, stored: torch.Tensor, dtype: torch.dtype) -> str:
    stored = stored.float() if stored.dtype.itemsize == 1 else stored  # torch computes little with float8
    finite = stored.isfinite()
    count = finite.numel() - int(finite.sum())
    if count:
        return f"its tensor {name} holds NaN or infinite values ({count:,} of {finite.numel():,})"
    largest = float(stored.abs().max())
    return f"its tensor {name} has a value of magnitude {largest:g}, beyond the range of {dtype}"
