"""Nodes for weights → the expression that their values are computed by. Knows no network that is resident."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.checkpoint.adapters import open_adapter
from engine.checkpoint.adapters.names import Names
from engine.checkpoint.layout import UNET
from engine.checkpoint.structure import NetworkKind, structures_of
from engine.checkpoint.values import AdaptedValues, Values, WeightedSum, stored_values
from engine.errors import BrokenCheckpoint
from engine.running.residents.tools import Tools
from engine.workflow.merging import Merge
from engine.workflow.models import Checkpoint, ClipWithLora, WithLora
from engine.workflow.node import Node


def checkpoint_of(node: Node) -> Path:
    """Return the file whose networks have the structure of what ``node`` makes: of what is merged, the first one's."""
    while not isinstance(node, Checkpoint):
        node = next(source for source in node.sources())
    assert node.name is not None
    return Path(node.name)


def values_of(node: Node, network: NetworkKind, tools: Tools) -> Values:
    """Return the values of one network of ``node``, which is located, computed on the device. Raises
    ``BrokenCheckpoint``."""
    match node:
        case WithLora(model=below) | ClipWithLora(clip=below):
            structures = structures_of(checkpoint_of(node))
            adapter = open_adapter(Path(node.name), structures, names=lora_names(node, tools))
            return AdaptedValues(values_of(below, network, tools), adapter, network, node.strength, node.rank)
        case Merge():
            first, second = node.sources()
            _check_alike(checkpoint_of(first), checkpoint_of(second), network)
            return WeightedSum(
                values_of(first, network, tools), values_of(second, network, tools), _shares(node, network)
            )
        case _:
            return stored_values(checkpoint_of(node), network, tools.device)


def lora_names(node: WithLora | ClipWithLora, tools: Tools) -> Names:
    """Whose names of layers a file's tensors have."""
    return "a1111" if node.manner == "a1111" else tools.config.lora_names


def _shares(node: Merge, network: NetworkKind) -> Callable[[str], tuple[float, float]]:
    places = structures_of(checkpoint_of(node))[network].names
    return lambda name: node.shares(places[name].removeprefix(UNET))


def _check_alike(first: Path, second: Path, network: NetworkKind) -> None:
    """Raise ``BrokenCheckpoint`` for two files whose networks have other parameters or shapes."""
    own, other = structures_of(first)[network].shapes, structures_of(second)[network].shapes
    name = next((name for name in (*own, *other) if own.get(name) != other.get(name)), None)
    if name is not None:
        what = f"{name} has shape {other.get(name)}, where {first.name} has {own.get(name)}"
        raise BrokenCheckpoint(second, f"its {network} cannot be merged with that of {first.name}: {what}")
