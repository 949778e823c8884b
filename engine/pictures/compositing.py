"""Pictures or latents pasted onto others where a mask says so. Numbers only; knows no nodes."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from engine.pictures.scaling import repeated_to


def composite_masked(below: Tensor, above: Tensor, x: int, y: int, mask: Tensor | None, *, resize: bool) -> Tensor:
    """Return ``below`` with ``above`` pasted onto it at (x, y): mask · above + (1 − mask) · below, or all of it.

    Both are (B, C, h, w); the few of ``above`` are repeated. ``mask`` (b, h, w) is brought to the size of ``above``,
    bilinear; with ``resize``, ``above`` is brought to the size of ``below`` first.
    """
    if resize:
        above = interpolate(above, size=below.shape[2:], mode="bilinear")
    above = repeated_to(above, below.shape[0])
    part = above[:, :, : max(0, below.shape[2] - y), : max(0, below.shape[3] - x)]
    height, width = part.shape[2:]
    if height == 0 or width == 0:
        return below
    result = below.clone()
    place = result[:, :, y : y + height, x : x + width]
    if mask is None:
        place.copy_(part)
        return result
    weight = interpolate(mask[:, None], size=above.shape[2:], mode="bilinear")
    weight = repeated_to(weight, part.shape[0])[:, :, :height, :width]
    place.copy_(weight * part + (1 - weight) * place)
    return result
