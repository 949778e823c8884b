"""A 3 × 3 convolution of a picture that was doubled in size, as one of the picture before that.

Where each pixel stands four times, the kernel's nine weights meet four pixels: those that meet the same one are added
up beforehand. Which they are differs between the four places within a doubled pixel, so there are four 2 × 2 kernels,
whose results are interleaved as in sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158). The same up to rounding,
for four ninths of the multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def parameters_before_doubling(widths: Sequence[int]) -> int:
    """Parameters that ``before_doubling`` makes for a UNet or decoder with levels of ``widths``, full resolution first.

    Each level but the first is enlarged once.
    """
    return sum(4 * (width * width * 4 + width) for width in widths[1:])


@torch.no_grad()
def before_doubling(layer: nn.Conv2d) -> nn.Conv2d:
    """``layer``, 3 × 3 with a margin of one pixel, m channels → the convolution of the picture before its doubling.

    From pictures (R, n, h, w) it makes (R, 4·m, h+1, w+1), the four places' after each other, for ``interleaved``.
    """
    if (layer.kernel_size, layer.stride, layer.padding) != ((3, 3), (1, 1), (1, 1)) or layer.bias is None:
        raise ValueError(f"not a 3 × 3 convolution with a margin of one pixel and a bias: {layer}")
    weights = [own for lines in _places(layer.weight.float(), 2) for own in _places(lines, 3)]
    with torch.device("meta"):
        folded = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, 2, padding=1)
    folded.weight = nn.Parameter(torch.cat(weights).to(layer.weight.dtype), requires_grad=False)
    folded.bias = nn.Parameter(layer.bias.repeat(4), requires_grad=False)
    return folded


def interleaved(parts: Tensor, layout: torch.memory_format) -> Tensor:
    """What such a convolution makes, (R, 4·m, h+1, w+1) → pictures (R, m, 2h, 2w)."""
    rows, channels, height, width = parts.shape[0], parts.shape[1] // 4, parts.shape[2] - 1, parts.shape[3] - 1
    size = (rows, channels, 2 * height, 2 * width)
    out = torch.empty(size, dtype=parts.dtype, device=parts.device, memory_format=layout)
    for place, part in enumerate(parts.split(channels, dim=1)):
        line, column = divmod(place, 2)
        out[:, :, line::2, column::2] = part[:, :, line : line + height, column : column + width]
    return out


def _places(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Three weights along ``axis`` → two for the first place within a doubled pixel, and two for the second.

    Around the first place lie the pixel before and, twice, its own; around the second its own twice and the next.
    """
    before, own, after = weight.unbind(axis)
    return torch.stack([before, own + after], axis), torch.stack([before + own, after], axis)
