"""Values on their way from a file into a module: copied in pieces, converted, checked. Knows no file and no network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_CHUNK = 1 << 15
"""Values converted at a time: they stay in the processor's cache, and torch does such a piece on one thread. Its
threads wait for each other by spinning, which takes ten times as long while another thread is sampling."""


def assign(module: nn.Module, name: str, value: Tensor) -> None:
    """Set the parameter or buffer ``name`` of ``module``, however deep, to ``value``."""
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, value)


def copied(stored: Tensor, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, bool]:
    """Return ``stored`` on ``device`` as ``dtype``, and whether all its values are finite there.

    Never a view of the mapping, whatever the dtype: touching a page of a file that was cut short since kills the
    process, and a file that is written over would change a resident model.
    """
    if device.type != "cpu":
        value = stored.to(device).to(dtype)
        return value, is_finite(value)
    value, finite = torch.empty(stored.shape, dtype=dtype), True
    flat_value, flat_stored = value.view(-1), stored.reshape(-1)
    by_float32 = stored.dtype != dtype and stored.dtype.itemsize == dtype.itemsize == 2  # exact, and thrice as fast
    for start in range(0, stored.numel(), _CHUNK):
        source, target = flat_stored[start : start + _CHUNK], flat_value[start : start + _CHUNK]
        target.copy_(source.float() if by_float32 else source)
        finite = finite and is_finite(target)
    return value, finite


def by_pieces(change: Callable[..., object], value: Tensor, *others: Tensor) -> None:
    """Have ``change`` change ``value`` in place, given the same places of ``others``, which have as many values.

    On a CPU it is given one piece after another, each of which torch computes on one thread. ``value`` is contiguous.
    """
    flat = [value.view(-1), *(other.reshape(-1) for other in others)]
    size = _CHUNK if value.device.type == "cpu" else max(1, value.numel())
    for start in range(0, value.numel(), size):
        change(*(each[start : start + size] for each in flat))


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return the product of two matrices; on a CPU row by row or some at once, each time on one thread.

    Raises ``RuntimeError`` for matrices that do not fit.
    """
    if one.device.type != "cpu":
        return one @ other
    rows = max(1, _CHUNK // max(1, other.shape[1]))
    return torch.cat([part @ other for part in one.split(rows)])


def rounded(stored: Tensor, device: torch.device, dtype: torch.dtype, *, half: bool) -> tuple[Tensor, bool]:
    """Return what ``copied`` returns; with ``half`` by way of float16 where ``dtype`` is float32, as ComfyUI keeps text
    encoders."""
    if half and dtype == torch.float32 and stored.dtype != torch.float16:
        stored, _ = copied(stored, device, torch.float16)
    return copied(stored, device, dtype)


def is_finite(value: Tensor) -> bool:
    """Return whether all values are finite, of a tensor that is not empty."""
    low, high = value.aminmax()  # NaN if any value is; a tenth of what isfinite costs
    return math.isfinite(low) and math.isfinite(high)


def what_is_not_finite(name: str, stored: Tensor, dtype: torch.dtype) -> str:
    """Describe the values of a stored tensor that are not finite, or not as ``dtype``."""
    stored = stored.float() if stored.dtype.itemsize == 1 else stored  # torch computes little with float8
    finite = stored.isfinite()
    count = finite.numel() - int(finite.sum())
    if count:
        return f"its tensor {name} holds NaN or infinite values ({count:,} of {finite.numel():,})"
    largest = float(stored.abs().max())
    return f"its tensor {name} has a value of magnitude {largest:g}, beyond the range of {dtype}"
