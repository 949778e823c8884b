"""FreeU (Si et al. 2023, arXiv 2309.11497): on the way up the network's own features count more, and of what is joined
to them the lowest frequencies less."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.operations import Operations
from engine.networks.patches import Patch


@dataclass(frozen=True, kw_only=True)
class FreeU(Patch):
    """At the two lowest widths, 4 and 2 times the first level's, half of the channels is scaled."""

    backbone: tuple[float, float]
    """The factors of the network's own features, lowest level first."""
    skip: tuple[float, float]
    """The factors of the lowest frequencies of what is joined."""
    adaptive: bool = False
    """Whether a place's factor depends on how strong its features are in the mean: the authors' second version."""

    def join(self, x: Tensor, skip: Tensor, channels: int, operations: Operations) -> tuple[Tensor, Tensor]:
        widths = (4 * channels, 2 * channels)
        if x.shape[1] not in widths:
            return x, skip
        level, half = widths.index(x.shape[1]), x.shape[1] // 2
        factor: Tensor | float = self.backbone[level]
        if self.adaptive:
            factor = (self.backbone[level] - 1) * operations.by_unit(_strength, x) + 1
        x = torch.cat([x[:, :half] * factor, x[:, half:]], dim=1).contiguous(memory_format=operations.layout)
        return x, _filtered(skip, self.skip[level], operations)


def _strength(x: Tensor) -> Tensor:
    """The mean of the channels of x (R, C, h, w), scaled to 0 … 1 over each picture: (R, 1, h, w); 0 where all of it is
    the same, as in pictures so small that the level is one cell."""
    mean = x.mean(1, keepdim=True)
    low, high = mean.amin((2, 3), keepdim=True), mean.amax((2, 3), keepdim=True)
    strength: Tensor = (mean - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)
    return strength


def _filtered(x: Tensor, factor: float, operations: Operations) -> Tensor:
    """x (R, C, h, w) with its lowest frequencies, 0 and −1 along each side, times ``factor``.

    These are few, so that they are projected out: no Fourier transform of the rest is needed.
    """
    height, width = x.shape[2:]
    waves = _lowest_waves(height, width, x.device)  # (m, h·w)
    flat = x.flatten(2).contiguous().float()
    low = operations.linear(operations.linear(flat, waves), waves.t().contiguous() / (height * width))
    filtered: Tensor = x + ((factor - 1) * low).unflatten(2, (height, width)).to(x.dtype)
    return filtered.contiguous(memory_format=operations.layout)


def _lowest_waves(height: int, width: int, device: torch.device) -> Tensor:
    """The cosine and sine of each of these frequencies at every place, a wave of constant 1 aside: (7, h·w)."""
    rows = torch.arange(height, device=device, dtype=torch.float32)[:, None] / height
    columns = torch.arange(width, device=device, dtype=torch.float32) / width
    waves = [torch.ones(height, width, device=device)]
    for down in (0, 1)[:height]:
        for across in (0, 1)[:width]:
            if down or across:
                angle = 2 * math.pi * (down * rows + across * columns)
                waves += [angle.cos(), angle.sin()]
    return torch.stack([wave.expand(height, width) for wave in waves]).flatten(1)
