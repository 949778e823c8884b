"""Draws random numbers and textures that depend on a seed and a name alone: the same on every device, in every
batch."""

import zlib

import torch
from torch import Tensor
from torch.nn import functional

_MASK = 0xFFFFFFFF


def hashed(x: Tensor) -> Tensor:
    """Mix int64 values well into 0 … 2³²−1 (Wellons' lowbias32)."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def lattice(seeds: Tensor, name: str, rows: int, columns: int) -> Tensor:
    """Draw (B, 1, rows, columns), uniform in [0, 1), from (B,) seeds."""
    key = hashed(hashed(seeds) + zlib.crc32(name.encode()))
    cells = torch.arange(rows * columns, device=seeds.device)
    values = hashed(key[:, None] + 0x9E3779B1 * cells[None]).double() / 2.0**32
    return values.float().reshape(-1, 1, rows, columns)


def uniform(seeds: Tensor, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw (B, 1, 1, 1), uniform in [low, high), from (B,) seeds."""
    return low + (high - low) * lattice(seeds, name, 1, 1)


def smooth(seeds: Tensor, name: str, rows: int, columns: int, size: int, octaves: int = 3) -> Tensor:
    """Draw soft noise (B, 1, size, size) around 0.5; ``rows`` × ``columns`` are the cells of the coarsest octave."""
    total = torch.zeros(len(seeds), 1, size, size, device=seeds.device)
    for octave in range(octaves):
        scale = 2**octave
        grid = lattice(seeds, f"{name}{octave}", rows * scale, columns * scale)
        total += functional.interpolate(grid, (size, size), mode="bicubic") * 0.5**octave
    return total / (2 - 0.5 ** (octaves - 1))


def ridge(seeds: Tensor, name: str, cells: int, size: int, *, octaves: int = 1, sharp: bool = False) -> Tensor:
    """Draw a line of heights (B, 1, 1, size) around 0.5, the profile of a range: ``sharp`` for rock, else rolling."""
    total = torch.zeros(len(seeds), 1, 1, size, device=seeds.device)
    for octave in range(octaves):
        grid = lattice(seeds, f"{name}{octave}", 1, cells * 2**octave)
        total += functional.interpolate(grid, (1, size), mode="bilinear" if sharp else "bicubic") * 0.5**octave
    return total / (2 - 0.5 ** (octaves - 1))
