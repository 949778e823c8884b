"""Conditioning: encoded prompts, and where, when and how strongly each of them counts.

A conditioning is a tuple of members, each made by nodes without knowing the picture that it is for. For a sampling,
which has a size and noise levels, they become the parts of branches. Knows no network and no node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from engine.batching.branches import Branch, Part
from engine.sampling.levels import NoiseLevels


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedLatents:
    """A picture with a hole, for inpainting networks."""

    latents: Tensor
    """(b, 4, h, w) float32 on the device, in the UNet's scale: the picture, grey in the hole."""
    mask: Tensor
    """(b, H, W) float32 on the device: 1 where the hole is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One encoded prompt of a conditioning."""

    tokens: Tensor
    """(1, 77·n, width) float32 on the device."""
    start: float = 0.0
    """The share of the sampling, 0 … 1, from which on it counts."""
    end: float = 1.0
    """The share of the sampling up to which it counts."""
    masked: MaskedLatents | None = None
    """What an inpainting network is shown of the picture that it repaints."""
    channels: Tensor | None = None
    """What the network takes beside x, (1 or B, c, h, w) on the device; made of ``masked`` for each sampling."""


Conditioning: TypeAlias = tuple[Member, ...]


def branches_of(prompts: Sequence[Conditioning], shape: Sequence[int], levels: NoiseLevels) -> tuple[Branch, ...]:
    """Return the branch of each prompt for x of ``shape`` (B, 4, h, w), at the noise levels of a model."""
    return tuple(Branch(parts=tuple(_part(member, levels) for member in prompt)) for prompt in prompts)


def _part(member: Member, levels: NoiseLevels) -> Part:
    first = levels.sigma_at_percent(member.start) if member.start > 0 else math.inf
    last = levels.sigma_at_percent(member.end) if member.end < 1 else 0.0
    return Part(conditioning=member.tokens, channels=member.channels, first_sigma=first, last_sigma=last)
