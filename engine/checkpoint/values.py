"""The weights of a network as an expression over files: each parameter is computed on demand, in float32.

Patches and sums are applied in the order in which they were written, and rounding to the network's precision is left
to the caller, who does it once. Knows no node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.adapters import Adapter
from engine.checkpoint.copying import by_pieces, copied, what_is_not_finite
from engine.checkpoint.structure import NetworkKind, Structure, structures_of
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint


class Values(Protocol):
    """The parameters of one network."""

    def value(self, name: str) -> Tensor:
        """Return the parameter in float32, in the module's shape, in memory of its own.

        Raises ``BrokenCheckpoint`` for a value that cannot be read, or is not finite.
        """


@dataclass(frozen=True, eq=False)
class StoredValues:
    """As they stand in a checkpoint's file."""

    path: Path
    structure: Structure
    device: torch.device
    _weights: Weights

    def value(self, name: str) -> Tensor:
        file_name = self.structure.names[name]
        try:
            stored = self._weights.take(file_name)
        except Exception as error:
            raise BrokenCheckpoint(self.path, f"its tensor {file_name} cannot be read ({error})") from error
        value, finite = copied(stored.reshape(self.structure.shapes[name]), self.device, torch.float32)
        if not finite:
            raise BrokenCheckpoint(self.path, what_is_not_finite(file_name, stored, torch.float32))
        return value


@dataclass(frozen=True, eq=False)
class AdaptedValues:
    """Changed by an adapter."""

    values: Values
    adapter: Adapter
    network: NetworkKind
    strength: float
    rank: int = 0

    def value(self, name: str) -> Tensor:
        return self.adapter.changed(name, self.values.value(name), self.network, self.strength, self.rank)


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """The sum of two networks' parameters, each with a weight."""

    first: Values
    second: Values
    shares: Callable[[str], tuple[float, float]]
    """A parameter's name → the weight of the first network's, and of the second's."""

    def value(self, name: str) -> Tensor:
        first, second = self.shares(name)
        value = self.first.value(name)
        by_pieces(lambda one, other: one.mul_(first).add_(second * other), value, self.second.value(name))
        return value


def stored_values(path: Path, network: NetworkKind, device: torch.device) -> StoredValues:
    """Return those of a checkpoint. Raises what ``inspect_checkpoint`` raises."""
    return StoredValues(path, structures_of(path)[network], device, open_weights(path))
