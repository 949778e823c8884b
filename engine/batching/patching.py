"""Patches for one evaluation: those that are active at its noise level, with the random choices that they need.

The choices continue the generator that the start noise was drawn from, as ComfyUI's do. Knows no network's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.batching.branches import Part
from engine.batching.windows import Window
from engine.device.transfer import to_device
from engine.networks.layout import Layout
from engine.networks.patches import DrawnPatch, Patch, Patches


class Patching:
    """The patches of one trajectory's evaluations, in their order."""

    def __init__(self, layout: Layout, generator: torch.Generator) -> None:
        """``layout`` is the network's; ``generator`` is the one that the start noise was drawn from, on the CPU."""
        self._layout = layout
        self._generator = generator

    def of(self, parts: Sequence[Part], sigma: Tensor, x: Tensor) -> tuple[Part, ...]:
        """Return ``parts`` of x (B, 4, h, w) as they are predicted at ``sigma``.

        Those that ComfyUI would stack in one call have their choices in common: of the same patches, with windows of
        the same size and conditionings of the same length.
        """
        found: dict[tuple[Patches, Sequence[int], int], tuple[Patches, tuple[Tensor, ...]]] = {}
        patched = []
        for part in parts:
            size = _size(part.window, x)
            key = (part.patches, size, part.conditioning.shape[1])
            if key not in found:
                patches, beside = self._applied(part.patches, float(sigma), *size)
                found[key] = patches, tuple(to_device(each, x.device) for each in beside)
            patches, beside = found[key]
            unchanged = patches == part.patches and not beside
            patched.append(part if unchanged else replace(part, patches=patches, beside=beside))
        return tuple(patched)

    def skip(self, x: Tensor) -> None:
        """Pass over as many numbers as x has, which ComfyUI draws and does not use."""
        torch.randn(x.shape, generator=self._generator)

    def _applied(self, patches: Patches, sigma: float, height: int, width: int) -> tuple[Patches, tuple[Tensor, ...]]:
        active = tuple(patch for patch in patches if patch.active(sigma))
        if not any(isinstance(patch, DrawnPatch) for patch in active):
            return active, ()
        choices = self._choices(active, height, width)
        applied: list[Patch] = []
        beside: list[Tensor] = []
        for patch, own in zip(active, choices, strict=True):
            if isinstance(patch, DrawnPatch):
                chosen, taken = patch.chosen(own, height, width)
                applied.append(chosen)
                beside += taken
            else:
                applied.append(patch)
        return tuple(applied), tuple(beside)

    def _choices(self, patches: Patches, height: int, width: int) -> list[list[Any]]:
        """Of each patch the choices for each layer: layer by layer, one patch after the other."""
        choices: list[list[Any]] = [[] for _ in patches]
        for tokens in self._layout.tokens(patches, height, width):
            left = tokens
            for patch, own in zip(patches, choices, strict=True):
                if isinstance(patch, DrawnPatch):
                    choice, left = patch.choose(left, height, width, self._generator)
                    own.append(choice)
        return choices


def _size(window: Window | None, x: Tensor) -> tuple[int, int]:
    return (x.shape[2], x.shape[3]) if window is None else (window.height, window.width)
