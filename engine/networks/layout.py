"""Where a UNet attends: how many tokens each of its self-attentions has for a picture of some size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from engine.networks.patches import Patches
from engine.networks.shrink import Shrink


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The self-attentions behind each residual block of a UNet, in its order."""

    down: tuple[tuple[int, ...], ...]
    """Of each level, the largest first."""
    middle: int
    up: tuple[tuple[int, ...], ...]
    """Of each level, the smallest first. Each block joins what a block of the way down left."""

    def tokens(self, patches: Patches, height: int, width: int) -> list[int]:
        """Return the number of tokens of each self-attention, for x of ``height`` × ``width`` cells."""
        shrinks = [patch for patch in patches if isinstance(patch, Shrink)]
        size = height, width
        left: list[tuple[int, int]] = []
        found: list[int] = []
        for level, counts in enumerate(self.down):
            for number, count in enumerate((0, *counts)):  # first what leads to the level
                if level and not number:
                    size = (size[0] + 1) // 2, (size[1] + 1) // 2
                found += [size[0] * size[1]] * count
                size = _passed_on(size, left, shrinks)
        found += [size[0] * size[1]] * self.middle
        for counts in self.up:
            for count in counts:
                size = left.pop()
                found += [size[0] * size[1]] * count
        return found


def layout_of(module: UNet2DConditionModel) -> Layout:
    """Return the layout of diffusers' module."""
    parts: Any = module
    return Layout(
        down=tuple(_counts(block) for block in parts.down_blocks),
        middle=len(parts.mid_block.attentions[0].transformer_blocks),
        up=tuple(_counts(block) for block in parts.up_blocks),
    )


def _counts(block: Any) -> tuple[int, ...]:
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return tuple(0 if each is None else len(each.transformer_blocks) for each in attentions)


def _passed_on(size: tuple[int, int], left: list[tuple[int, int]], shrinks: Sequence[Shrink]) -> tuple[int, int]:
    """The size of what goes into the next block; adds to ``left`` that of what is joined later."""
    own = [shrink for shrink in shrinks if shrink.block == len(left)]
    for shrink in own:
        size = size if shrink.after_join else shrink.size(*size)
    left.append(size)
    for shrink in own:
        size = shrink.size(*size) if shrink.after_join else size
    return size
