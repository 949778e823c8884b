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

_SMALL = 256
"""Up to so many pixels, a group norm is one launch."""

_PIXELS, _PARTS = 16, 4
"""Pixels that one program has at a time, and how often it asks for so many before it waits for them."""

_MOST_CHUNKS = 512
"""A picture's pixels are cut into chunks of ``_PIXELS * _PARTS``, or into so many of more."""

_CHANNELS = 64
"""Channels that one program holds."""


@triton.jit
def _silu(x: tl.tensor) -> tl.tensor:
    return x / (1.0 + tl.exp(-x))


@Kernel
@triton.jit(do_not_specialize=["shift_stride", "pixels"])
def _small_group_norm_kernel(
    x: tl.tensor,
    shift: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    shift_stride: tl.tensor,
    pixels: tl.tensor,
    eps: tl.tensor,
    SILU: tl.constexpr,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    PIXELS: tl.constexpr,
) -> None:
    """One group of one row."""
    row, group = tl.program_id(0), tl.program_id(1)
    pixel = tl.arange(0, PIXELS)  # (P,)
    inner = tl.arange(0, PADDED)  # (W,)
    channel = group * WIDTH + inner
    known = inner < WIDTH
    there = (pixel < pixels)[:, None] & known[None, :]  # (P, W)
    place = (row * pixels + pixel).to(tl.int64)[:, None] * (GROUPS * WIDTH) + channel[None, :]
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    if shift is not None:
        value += tl.load(shift + row * shift_stride + channel, mask=known, other=0.0).to(tl.float32)[None, :]
    count = pixels * 1.0 * WIDTH
    mean = tl.sum(tl.sum(tl.where(there, value, 0.0), 1), 0) / count
    value = tl.where(there, value - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(tl.sum(value * value, 1), 0) / count + eps)
    factor = tl.load(weight + channel, mask=known, other=0.0).to(tl.float32) * scale
    value = value * factor[None, :] + tl.load(bias + channel, mask=known, other=0.0).to(tl.float32)[None, :]
    if SILU:
        value = _silu(value)
    tl.store(y + place, value, mask=there)


@Kernel
@triton.jit(do_not_specialize=["pixels", "chunks", "turns"])
def _moments_kernel(
    x: tl.tensor,
    means: tl.tensor,
    squares: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    chunks: tl.tensor,
    turns: tl.tensor,
    PIXELS: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Each channel's mean and summed squared deviation in one chunk of one row's pixels.

    Of values from which about their mean was taken, the first pixels', so that the sums' difference keeps its digits
    (Chan, Golub & LeVeque 1983, on shifted data).
    """
    row, chunk = tl.program_id(0), tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)  # (C,)
    known = channel < channels
    size = PIXELS * PARTS * turns
    left = pixels - chunk * size
    start = x + (row * pixels + chunk * size).to(tl.int64) * channels
    pixel = tl.arange(0, PIXELS)  # (P,)
    there = (pixel < left)[:, None] & known[None, :]  # (P, C)
    first = tl.load(start + pixel[:, None] * channels + channel[None, :], mask=there, other=0.0).to(tl.float32)
    origin = tl.sum(first, 0) / tl.minimum(left, PIXELS).to(tl.float32)
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    square = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for turn in range(turns):
        for part in tl.static_range(PARTS):
            place = (turn * PARTS + part) * PIXELS + pixel
            there = (place < left)[:, None] & known[None, :]
            value = tl.load(start + place[:, None] * channels + channel[None, :], mask=there, other=0.0).to(tl.float32)
            value = tl.where(there, value - origin[None, :], 0.0)
            total += value
            square += value * value
    n = tl.minimum(left, size).to(tl.float32)
    delta = tl.sum(total, 0) / n
    out = (row * chunks + chunk) * channels + channel
    tl.store(means + out, origin + delta, mask=known)
    tl.store(squares + out, tl.maximum(tl.sum(square, 0) - delta * delta * n, 0.0), mask=known)


@Kernel
@triton.jit(do_not_specialize=["shift_stride", "pixels", "chunks", "chunk"])
def _scales_kernel(
    means: tl.tensor,
    squares: tl.tensor,
    shift: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    factors: tl.tensor,
    offsets: tl.tensor,
    shift_stride: tl.tensor,
    pixels: tl.tensor,
    chunks: tl.tensor,
    chunk: tl.tensor,
    eps: tl.tensor,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    CHUNKS: tl.constexpr,
) -> None:
    """What one group's norm comes to for each of its channels: x · factor + offset."""
    row, group = tl.program_id(0), tl.program_id(1)
    inner = tl.arange(0, PADDED)  # (W,)
    channel = group * WIDTH + inner
    known = inner < WIDTH
    every = tl.arange(0, CHUNKS)  # (K,)
    there = (every < chunks)[:, None] & known[None, :]  # (K, W)
    n = tl.maximum(tl.minimum(pixels - every * chunk, chunk), 0).to(tl.float32)[:, None]
    place = (row * chunks + every)[:, None] * (GROUPS * WIDTH) + channel[None, :]
    added = tl.zeros((PADDED,), tl.float32)
    if shift is not None:
        added += tl.load(shift + row * shift_stride + channel, mask=known, other=0.0).to(tl.float32)
    count = pixels * 1.0 * WIDTH
    own = tl.load(means + place, mask=there, other=0.0) + added[None, :]
    mean = tl.sum(tl.sum(tl.where(there, own * n, 0.0), 1), 0) / count
    delta = tl.where(there, own - mean, 0.0)
    square = tl.load(squares + place, mask=there, other=0.0) + delta * delta * n
    scale = 1.0 / tl.sqrt(tl.sum(tl.sum(square, 1), 0) / count + eps)
    factor = tl.load(weight + channel, mask=known, other=0.0).to(tl.float32) * scale
    offset = tl.load(bias + channel, mask=known, other=0.0).to(tl.float32) + (added - mean) * factor
    tl.store(factors + row * (GROUPS * WIDTH) + channel, factor, mask=known)
    tl.store(offsets + row * (GROUPS * WIDTH) + channel, offset, mask=known)


@Kernel
@triton.jit(do_not_specialize=["pixels"])
def _apply_kernel(
    x: tl.tensor,
    factors: tl.tensor,
    offsets: tl.tensor,
    y: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    SILU: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    row = tl.program_id(2)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    there = (pixel < pixels)[:, None] & known[None, :]
    place = (row * pixels + pixel).to(tl.int64)[:, None] * channels + channel[None, :]
    factor = tl.load(factors + row * channels + channel, mask=known, other=0.0)
    offset = tl.load(offsets + row * channels + channel, mask=known, other=0.0)
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32) * factor[None, :] + offset[None, :]
    if SILU:
        value = _silu(value)
    tl.store(y + place, value, mask=there)


def group_norm(
    x: Tensor, shift: Tensor | None, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> Tensor:
    """GroupNorm of ``x + shift``, then SiLU where asked for. Accumulates in float32.

    x: (R, C, h, w), channels_last. shift: (R, C) or (C,), its last dimension dense. The result is like ``x``.
    """
    assert x.is_contiguous(memory_format=torch.channels_last)
    rows, channels, height, breadth = x.shape
    pixels, width = height * breadth, channels // groups
    stride = shift.stride(0) if shift is not None and shift.dim() > 1 else 0
    sizes = {"GROUPS": groups, "WIDTH": width, "PADDED": triton.next_power_of_2(width)}
    y = torch.empty_like(x)
    if pixels <= _SMALL:
        warps = max(4, min(32, sizes["PADDED"] * _SMALL // 1024))
        _small_group_norm_kernel[(rows, groups)](
            x, shift, weight, bias, y, stride, pixels, eps, SILU=silu, PIXELS=_SMALL, **sizes, num_warps=warps
        )
        return y
    chunk = max(_PIXELS * _PARTS, triton.next_power_of_2(triton.cdiv(pixels, _MOST_CHUNKS)))
    chunks = triton.cdiv(pixels, chunk)
    means, squares = torch.empty(2, rows, chunks, channels, dtype=torch.float32, device=x.device)
    factors, offsets = torch.empty(2, rows, channels, dtype=torch.float32, device=x.device)
    across = triton.cdiv(channels, _CHANNELS)
    turns, tile = chunk // (_PIXELS * _PARTS), {"PIXELS": _PIXELS, "PARTS": _PARTS, "CHANNELS": _CHANNELS}
    _moments_kernel[(rows, chunks, across)](x, means, squares, pixels, channels, chunks, turns, **tile, num_warps=1)
    counts = (stride, pixels, chunks, chunk)
    held = triton.next_power_of_2(chunks)
    _scales_kernel[(rows, groups)](
        means, squares, shift, weight, bias, factors, offsets, *counts, eps, CHUNKS=held, **sizes, num_warps=16
    )
    _apply_kernel[(triton.cdiv(pixels, 64), across, rows)](
        x, factors, offsets, y, pixels, channels, SILU=silu, PIXELS=64, CHANNELS=_CHANNELS, num_warps=8
    )
    return y


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
