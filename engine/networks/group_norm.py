"""GroupNorm and what stands around it in a residual block, SiLU and a shift, as Triton kernels.

A small picture's takes one launch; a large one's three: moments of its chunks, what they come to, and the use of that.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.networks.compiling import Kernel

_SMALL = 256
"""The most pixels for which a group norm is one launch."""

_PIXELS, _PARTS = 16, 4
"""Pixels that one program loads at a time, and how many of these loads it starts before it waits for them."""

_MOST_CHUNKS = 512
"""The most chunks that a picture's pixels are cut into: of ``_PIXELS * _PARTS`` pixels, or of more."""

_CHANNELS = 64
"""Channels that one program holds."""

_CHUNKS = 128
"""Chunks of a group that are looked at together."""


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

    The first pixels' mean is taken off beforehand, so that the difference of the sums keeps its digits (Chan, Golub &
    LeVeque 1983, on shifted data).
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
    added = tl.zeros((PADDED,), tl.float32)
    if shift is not None:
        added += tl.load(shift + row * shift_stride + channel, mask=known, other=0.0).to(tl.float32)
    count = pixels * 1.0 * WIDTH
    total = tl.zeros((PADDED,), tl.float32)
    for first in range(0, chunks, CHUNKS):
        every = first + tl.arange(0, CHUNKS)  # (K,)
        there = (every < chunks)[:, None] & known[None, :]  # (K, W)
        n = tl.maximum(tl.minimum(pixels - every * chunk, chunk), 0).to(tl.float32)[:, None]
        place = (row * chunks + every)[:, None] * (GROUPS * WIDTH) + channel[None, :]
        own = tl.load(means + place, mask=there, other=0.0) + added[None, :]
        total += tl.sum(tl.where(there, own * n, 0.0), 0)
    mean = tl.sum(total, 0) / count
    total = tl.zeros((PADDED,), tl.float32)
    for first in range(0, chunks, CHUNKS):
        every = first + tl.arange(0, CHUNKS)
        there = (every < chunks)[:, None] & known[None, :]
        n = tl.maximum(tl.minimum(pixels - every * chunk, chunk), 0).to(tl.float32)[:, None]
        place = (row * chunks + every)[:, None] * (GROUPS * WIDTH) + channel[None, :]
        own = tl.load(means + place, mask=there, other=0.0) + added[None, :]
        delta = tl.where(there, own - mean, 0.0)
        total += tl.sum(tl.load(squares + place, mask=there, other=0.0) + delta * delta * n, 0)
    scale = 1.0 / tl.sqrt(tl.sum(total, 0) / count + eps)
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
    means, squares, chunk = _moments(x)
    chunks, across = means.shape[1], triton.cdiv(channels, _CHANNELS)
    factors, offsets = torch.empty(2, rows, channels, dtype=torch.float32, device=x.device)
    counts = (stride, pixels, chunks, chunk)
    _scales_kernel[(rows, groups)](
        means, squares, shift, weight, bias, factors, offsets, *counts, eps, CHUNKS=_CHUNKS, **sizes, num_warps=16
    )
    _apply_kernel[(triton.cdiv(pixels, 64), across, rows)](
        x, factors, offsets, y, pixels, channels, SILU=silu, PIXELS=64, CHANNELS=_CHANNELS, num_warps=8
    )
    return y


def _moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Each chunk's means and summed squared deviations by channel, float32 (R, chunks, C), and its number of pixels."""
    rows, channels, height, breadth = x.shape
    pixels = height * breadth
    chunk = max(_PIXELS * _PARTS, triton.next_power_of_2(triton.cdiv(pixels, _MOST_CHUNKS)))
    chunks, turns = triton.cdiv(pixels, chunk), chunk // (_PIXELS * _PARTS)
    means, squares = torch.empty(2, rows, chunks, channels, dtype=torch.float32, device=x.device)
    tile = {"PIXELS": _PIXELS, "PARTS": _PARTS, "CHANNELS": _CHANNELS}
    _moments_kernel[(rows, chunks, triton.cdiv(channels, _CHANNELS))](
        x, means, squares, pixels, channels, chunks, turns, **tile, num_warps=1
    )
    return means, squares, chunk
