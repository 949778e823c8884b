"""Deep shrink (Kohya 2023): at the first steps the middle of the network works on smaller pictures, so that large ones
have one composition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.operations import Operations
from engine.networks.patches import Patch
from engine.pictures.scaling import resized


@dataclass(frozen=True, kw_only=True)
class Shrink(Patch):
    """What a block of the way down makes is shrunk, and on the way up enlarged to what it is joined with."""

    block: int
    """Counted from 0; one that is not there changes nothing."""
    factor: float
    """Height and width are divided by it and rounded."""
    first_sigma: float
    """The largest noise level at which it is applied."""
    last_sigma: float
    """The smallest one."""
    after_join: bool
    """Whether what is joined later keeps its size."""
    shrinking: str
    """How it is scaled: a method of ``engine.pictures.scaling.resized``."""
    enlarging: str

    def active(self, sigma: float) -> bool:
        return self.last_sigma <= sigma <= self.first_sigma

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width after shrinking, at least 1."""
        return max(1, round(height * (1 / self.factor))), max(1, round(width * (1 / self.factor)))

    def before_skip(self, block: int, x: Tensor, operations: Operations) -> Tensor:
        return x if self.after_join or block != self.block else self._shrunk(x, operations)

    def after_skip(self, block: int, x: Tensor, operations: Operations) -> Tensor:
        return self._shrunk(x, operations) if self.after_join and block == self.block else x

    def join(self, x: Tensor, skip: Tensor, channels: int, operations: Operations) -> tuple[Tensor, Tensor]:
        if x.shape[2:] == skip.shape[2:]:
            return x, skip
        return _scaled(x, skip.shape[2:], self.enlarging, operations), skip

    def _shrunk(self, x: Tensor, operations: Operations) -> Tensor:
        return _scaled(x, torch.Size(self.size(x.shape[2], x.shape[3])), self.shrinking, operations)


def _scaled(x: Tensor, size: torch.Size, method: str, operations: Operations) -> Tensor:
    scaled = operations.by_unit(lambda x: resized(x.float(), size[0], size[1], method).to(x.dtype), x)
    return scaled.contiguous(memory_format=operations.layout)
