"""Patches: what changes a UNet's own computation, as values.

A patch hooks into the blocks of the way down, into what the way up joins, and into self-attention. Each kind is a class
in a module of its own; this one knows none of them and no network.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Size, Tensor

from engine.networks.operations import Operations

Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Normed tokens (R, n, C), and the queries, keys and values made of them → attended tokens (R, n, C)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Attention:
    """One self-attention of a call, as patches see it."""

    layer: int
    """Which it is, counted from 0 in the order of the network."""
    middle: bool
    """Whether it is that of the lowest level's blocks."""
    heads: int
    operations: Operations
    beside: Sequence[Tensor] = ()
    """What the patches take beside x, (R, …) each."""
    notes: list[Tensor] = field(default_factory=list)
    """What the network returns beside its prediction, (R, …) each."""

    def of(self, patches: Sequence[Patch], normed: Tensor, query: Tensor, key: Tensor, value: Tensor, /) -> Tensor:
        """Return the attended tokens: each of ``patches`` surrounds those behind it."""
        if not patches:
            return self.operations.attend(query, key, value, self.heads)
        return patches[0].attend(self, functools.partial(self.of, patches[1:]), normed, query, key, value)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A patch that changes nothing. Equal patches are one, so that those who use them share calls."""

    takes: ClassVar[int] = 0
    """The number of tensors that it takes beside x."""

    def active(self, sigma: float) -> bool:
        """Return whether it is to be applied at a noise level."""
        return True

    def before_skip(self, block: int, x: Tensor, operations: Operations) -> Tensor:
        """Return what is handed on and joined later, for what a block of the way down makes, (R, C, h, w).

        Blocks are counted from 0, which is the first convolution; those that shrink x count too.
        """
        return x

    def after_skip(self, block: int, x: Tensor, operations: Operations) -> Tensor:
        """Return what is handed on, where that differs from what is joined later."""
        return x

    def enlarged(self, x: Tensor, size: Size) -> Size:
        """Return the height and width that x (R, C, h, w) gets on the way up, before it is convolved; ``size`` is that
        of what it is joined with next."""
        return size

    def join(self, x: Tensor, skip: Tensor, channels: int, operations: Operations) -> tuple[Tensor, Tensor]:
        """Return x and what it is joined with, (R, C, h, w) each; ``channels`` is the width of the first level."""
        return x, skip

    def attend(
        self, attention: Attention, inner: Attend, normed: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """Return the attended tokens (R, n, C); ``inner`` attends as it would be without this patch."""
        return inner(normed, query, key, value)


Patches: TypeAlias = tuple[Patch, ...]
"""Patches in the order in which they are applied."""


@dataclass(frozen=True, kw_only=True)
class DrawnPatch(Patch, ABC):
    """A patch that needs a random choice for each call, layer by layer, before it can be applied."""

    @abstractmethod
    def choose(self, tokens: int, height: int, width: int, generator: torch.Generator) -> tuple[Any, int]:
        """Return the choice for the next layer, hashable or a tensor, and the number of tokens that it leaves to the
        patches behind.

        ``tokens`` come into the layer; ``height`` and ``width`` are those of x, in cells.
        """

    @abstractmethod
    def chosen(self, choices: Sequence[Any], height: int, width: int) -> tuple[Patch, tuple[Tensor, ...]]:
        """Return the patch with the choice for each layer, and what it takes beside x, (1, …) each on the CPU."""
