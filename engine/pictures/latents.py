"""Latents put together and interpolated: numbers only, on whatever device they are.

Latents are float32 (B, 4, h, w). Knows no nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.pictures.scaling import repeated_to


def composite(below: Tensor, above: Tensor, x: int, y: int, feather: int) -> Tensor:
    """Return ``above`` pasted onto ``below`` at cell (x, y), as far as it reaches into it; its edges fade over
    ``feather`` cells where ``below`` goes on."""
    above = repeated_to(above, below.shape[0])[:, :, : max(0, below.shape[2] - y), : max(0, below.shape[3] - x)]
    height, width = above.shape[2:]
    if height == 0 or width == 0:
        return below
    ramp = (torch.arange(feather, dtype=torch.float32, device=below.device) + 1) / max(feather, 1)
    rows, columns = (torch.ones(side, device=below.device) for side in (height, width))
    for weights, before, after in ((rows, y, below.shape[2] - y - height), (columns, x, below.shape[3] - x - width)):
        fading = ramp[: len(weights)]
        if before:
            weights[: len(fading)] *= fading
        if after:
            weights[len(weights) - len(fading) :] *= fading.flip(0)
    weight = rows[:, None] * columns
    result = below.clone()
    part = result[:, :, y : y + height, x : x + width]
    part.copy_(above * weight + part * (1 - weight))
    return result


def interpolated(first: Tensor, second: Tensor, ratio: float) -> Tensor:
    """Between ``first`` (at ratio 1) and ``second``: the mean of their directions, with the mean of their lengths."""
    length, other_length = (each.norm(dim=1, keepdim=True) for each in (first, second))
    mean = torch.nan_to_num(first / length) * ratio + torch.nan_to_num(second / other_length) * (1 - ratio)
    between: Tensor = torch.nan_to_num(mean / mean.norm(dim=1, keepdim=True)) * (
        length * ratio + other_length * (1 - ratio)
    )
    return between
