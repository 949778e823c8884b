"""Pictures or latents pasted onto others where a mask says so, and blended. Numbers only; knows no nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.pictures.scaling import repeated_to


def blended(first: Tensor, second: Tensor, factor: float, mode: str) -> Tensor:
    """Return (1 − factor) · ``first`` + factor · what ``mode`` makes of both, 0 … 1; both are (B, C, h, w), 0 … 1."""
    return (first * (1 - factor) + _MODES[mode](first, second) * factor).clamp(0, 1)


def _screen(first: Tensor, second: Tensor) -> Tensor:
    return 1 - (1 - first) * (1 - second)


def _overlay(first: Tensor, second: Tensor) -> Tensor:
    return torch.where(first <= 0.5, 2 * first * second, 1 - 2 * (1 - first) * (1 - second))


def _soft_light(first: Tensor, second: Tensor) -> Tensor:
    """As the W3C's recommendation on compositing defines it."""
    lighter = torch.where(first <= 0.25, ((16 * first - 12) * first + 4) * first, first.sqrt())
    darker = first - (1 - 2 * second) * first * (1 - first)
    return torch.where(second <= 0.5, darker, first + (2 * second - 1) * (lighter - first))


_MODES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "normal": lambda _, second: second,
    "multiply": torch.mul,
    "screen": _screen,
    "overlay": _overlay,
    "soft_light": _soft_light,
    "difference": torch.sub,
}


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
