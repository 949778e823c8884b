"""Triton kernels for what lies between a network's convolutions and matrix products, each in one or two launches.

Pictures are channels_last. Whatever a kernel does for one row of a batch is the same, to the bit, however many rows
there are: nothing is split by the batch's size, and nothing is added up in an order of its own.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.networks.compiling import Kernel
from engine.networks.group_norm import group_norm

__all__ = ["add", "add_layer_norm", "gated", "group_norm", "interleave"]

_CHANNELS = 64
"""Channels that one program holds."""


@Kernel
@triton.jit
def _layer_norm_kernel(
    x: tl.tensor,
    y: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    total: tl.tensor,
    normed: tl.tensor,
    eps: tl.tensor,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64) * WIDTH
    place = tl.arange(0, PADDED)
    there = place < WIDTH
    added = tl.load(x + row + place, mask=there, other=0.0).to(tl.float32)
    if y is not None:
        added += tl.load(y + row + place, mask=there, other=0.0).to(tl.float32)
        tl.store(total + row + place, added, mask=there)
    mean = tl.sum(added, 0) / WIDTH
    deviation = tl.where(there, added - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(deviation * deviation, 0) / WIDTH + eps)
    factor = tl.load(weight + place, mask=there, other=0.0).to(tl.float32)
    offset = tl.load(bias + place, mask=there, other=0.0).to(tl.float32)
    tl.store(normed + row + place, deviation * scale * factor + offset, mask=there)


def add_layer_norm(x: Tensor, y: Tensor | None, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x + y, or x alone, and its LayerNorm over the last dimension. Like ``x``, which is dense, as is ``y``."""
    assert x.is_contiguous()
    assert y is None or y.is_contiguous()
    total, normed = x if y is None else torch.empty_like(x), torch.empty_like(x)
    width = x.shape[-1]
    padded = triton.next_power_of_2(width)
    warps = max(1, min(8, padded // 256))
    _layer_norm_kernel[(x.numel() // width,)](
        x, y, weight, bias, total, normed, eps, WIDTH=width, PADDED=padded, num_warps=warps
    )
    return total, normed


@Kernel
@triton.jit(do_not_specialize=["rows"])
def _gated_kernel(
    x: tl.tensor, y: tl.tensor, rows: tl.tensor, width: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr
) -> None:
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None].to(tl.int64)
    column = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    there = (row < rows) & (column < width)
    hidden = tl.load(x + row * (2 * width) + column, mask=there, other=0.0).to(tl.float32)
    gate = tl.load(x + row * (2 * width) + width + column, mask=there, other=0.0).to(tl.float32)
    tl.store(y + row * width + column, hidden * 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476)), mask=there)


def gated(x: Tensor) -> Tensor:
    """GEGLU: (…, 2n), dense → (…, n), its first half times GELU of its second."""
    assert x.is_contiguous()
    width = x.shape[-1] // 2
    y = x.new_empty(*x.shape[:-1], width)
    rows = y.numel() // width
    grid = (triton.cdiv(rows, 8), triton.cdiv(width, 256))
    _gated_kernel[grid](x, y, rows, width, ROWS=8, COLUMNS=256, num_warps=8)
    return y


@Kernel
@triton.jit(do_not_specialize=["rows"])
def _add_kernel(
    x: tl.tensor,
    y: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None].to(tl.int64)
    column = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    there = (row < rows) & (column < width)
    place = row * width + column
    total = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    if y is not None:
        total += tl.load(y + place, mask=there, other=0.0).to(tl.float32)
    total += tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(out + place, total, mask=there)


def add(x: Tensor, y: Tensor | None, bias: Tensor) -> Tensor:
    """x + y + bias, or x + bias, of pictures (R, C, h, w), channels_last, and (C,)."""
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y is None or y.is_contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x)
    width = x.shape[1]
    rows = x.numel() // width
    grid = (triton.cdiv(rows, 32), triton.cdiv(width, _CHANNELS))
    _add_kernel[grid](x, y, bias, out, rows, width, ROWS=32, COLUMNS=_CHANNELS, num_warps=8)
    return out


@Kernel
@triton.jit(do_not_specialize=["pixels", "height", "breadth"])
def _interleave_kernel(
    parts: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    pixels: tl.tensor,
    height: tl.tensor,
    breadth: tl.tensor,
    channels: tl.tensor,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)  # of y, over all rows
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    there = (pixel < pixels)[:, None] & known[None, :]
    over, column = pixel // (2 * breadth), pixel % (2 * breadth)
    row, line = over // (2 * height), over % (2 * height)
    place = line % 2 * 2 + column % 2
    source = (row * (height + 1) + line // 2 + line % 2) * (breadth + 1) + column // 2 + column % 2
    own = parts + (source * 4 + place).to(tl.int64)[:, None] * channels + channel[None, :]
    value = tl.load(own, mask=there, other=0.0).to(tl.float32)
    value += tl.load(bias + channel, mask=known, other=0.0).to(tl.float32)[None, :]
    tl.store(y + pixel.to(tl.int64)[:, None] * channels + channel[None, :], value, mask=there)


def interleave(parts: Tensor, bias: Tensor) -> Tensor:
    """``engine.networks.doubling.interleaved`` of (R, 4·m, h+1, w+1), plus the first m of ``bias``: (R, m, 2h, 2w).

    All channels_last.
    """
    assert parts.is_contiguous(memory_format=torch.channels_last)
    rows, channels, height, breadth = parts.shape[0], parts.shape[1] // 4, parts.shape[2] - 1, parts.shape[3] - 1
    size = (rows, channels, 2 * height, 2 * breadth)
    y = torch.empty(size, dtype=parts.dtype, device=parts.device, memory_format=torch.channels_last)
    pixels = y.numel() // channels
    grid = (triton.cdiv(pixels, 64), triton.cdiv(channels, _CHANNELS))
    _interleave_kernel[grid](
        parts, bias, y, pixels, height, breadth, channels, PIXELS=64, CHANNELS=_CHANNELS, num_warps=8
    )
    return y
