"""Enlarging by two whatever comes next, as AUTOMATIC1111 does where a level has an odd side."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Size, Tensor

from engine.networks.operations import Operations
from engine.networks.patches import Patch


@dataclass(frozen=True, kw_only=True)
class EnlargeByTwo(Patch):
    """On the way up x becomes twice as large and is convolved, and only then gets the size of what it is joined with.

    Without it x gets that size before it is convolved. The two differ where a side shrinks to half of an odd number.
    """

    def enlarged(self, x: Tensor, size: Size) -> Size:
        return Size((2 * x.shape[2], 2 * x.shape[3]))

    def join(self, x: Tensor, skip: Tensor, channels: int, operations: Operations) -> tuple[Tensor, Tensor]:
        return (x if x.shape[2:] == skip.shape[2:] else operations.enlarge(x, skip.shape[2:])), skip
