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

__all__ = ["add", "add_layer_norm", "double", "gated", "group_norm"]

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
@triton.jit(do_not_specialize=["pixels", "breadth"])
def _double_kernel(
    x: tl.tensor,
    y: tl.tensor,
    pixels: tl.tensor,
    breadth: tl.tensor,
    channels: tl.tensor,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    pixel = (tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)).to(tl.int64)  # of y, over all rows
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    there = (pixel < pixels)[:, None] & (channel < channels)[None, :]
    line, column = pixel // (2 * breadth), pixel % (2 * breadth)
    source = line // 2 * breadth + column // 2  # rows of pictures have even heights in y, so lines pair up
    value = tl.load(x + source[:, None] * channels + channel[None, :], mask=there, other=0.0)
    tl.store(y + pixel[:, None] * channels + channel[None, :], value, mask=there)


def double(x: Tensor) -> Tensor:
    """(R, C, h, w) → (R, C, 2h, 2w), channels_last, each pixel four times."""
    assert x.is_contiguous(memory_format=torch.channels_last)
    rows, channels, height, breadth = x.shape
    y = torch.empty(
        (rows, channels, 2 * height, 2 * breadth), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    pixels = y.numel() // channels
    grid = (triton.cdiv(pixels, 64), triton.cdiv(channels, _CHANNELS))
    _double_kernel[grid](x, y, pixels, breadth, channels, PIXELS=64, CHANNELS=_CHANNELS, num_warps=8)
    return y
