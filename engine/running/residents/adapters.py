"""Loads what LoRAs and their kin make of a resident model or text encoder: only what they change is held beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.checkpoint.adapters import Adapter, open_adapter
from engine.checkpoint.copying import rounded
from engine.checkpoint.structure import NetworkKind, Structure, structures_of
from engine.checkpoint.values import Values
from engine.errors import BrokenCheckpoint
from engine.models.hashes import adapter_hash
from engine.networks.sharing import remade, size_of_values
from engine.networks.unet import Unet
from engine.running.model import Model, Network, TextEncoder
from engine.running.residents.expressions import checkpoint_of, lora_names, values_of
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.workflow.models import ClipWithLora, WithLora
from engine.workflow.weights import Weights


def root_of(node: Weights) -> Weights:
    """Return the weights that a stack of adapters changes: a checkpoint's, or merged ones."""
    while isinstance(node, WithLora | ClipWithLora):
        below = node.model if isinstance(node, WithLora) else node.clip
        assert isinstance(below, Weights)
        node = below
    return node


def _stack(node: Weights) -> Iterable[WithLora | ClipWithLora]:
    """The adapters, the first one that is applied first."""
    stack: list[WithLora | ClipWithLora] = []
    while isinstance(node, WithLora | ClipWithLora):
        stack.insert(0, node)
        below = node.model if isinstance(node, WithLora) else node.clip
        assert isinstance(below, Weights)
        node = below
    return stack


def adapters_of(node: Weights, tools: Tools) -> list[Adapter]:
    """Return what the files of a stack change, in the order in which they apply. Raises ``BrokenCheckpoint``."""
    structures = structures_of(checkpoint_of(node))
    return [
        open_adapter(Path(each.name), structures, names=lora_names(each, tools), values=False) for each in _stack(node)
    ]


def _changed(node: Weights, network: NetworkKind, tools: Tools) -> tuple[Structure, set[str]]:
    structure = structures_of(checkpoint_of(node))[network]
    changed = {name for adapter in adapters_of(node, tools) for name in adapter.changes_of[network]}
    return structure, changed & set(structure.shapes)


def unet_size(node: WithLora, tools: Tools) -> int:
    """Bytes of the parameters that are changed, and of those that are packed together with them."""
    structure, changed = _changed(node, "unet", tools)
    shapes = {name: structure.shapes[name] for name in remade(changed, structure.shapes)}
    return size_of_values(shapes) * tools.dtype.itemsize


def text_size(node: ClipWithLora, tools: Tools) -> int:
    """Bytes of the parameters that are changed."""
    structure, changed = _changed(node, "text_encoder", tools)
    return sum(math.prod(structure.shapes[name]) for name in changed) * tools.dtype.itemsize


@resident(WithLora, size=unet_size, bases=lambda node: (root_of(node),))
def load_unet(node: WithLora, tools: Tools, base: Model | Network) -> Network:
    """Return the base's network with other values where adapters change them. Raises ``BrokenCheckpoint``."""
    structure, changed = _changed(node, "unet", tools)
    names = remade(changed, structure.shapes)
    values = rounded_values(values_of(node, "unet", tools), names, tools, half=False, path=Path(node.name))
    unet = base.denoiser.network
    assert isinstance(unet, Unet)
    denoiser = base.denoiser.with_network(unet.with_values(values), tools.launcher())
    network = Network(denoiser) if isinstance(base, Model) else dataclasses.replace(base, denoiser=denoiser)
    return dataclasses.replace(network, record=_record(node, tools, base.record))


@resident(ClipWithLora, size=text_size, bases=lambda node: (root_of(node),))
def load_text(node: ClipWithLora, tools: Tools, base: Model | TextEncoder) -> TextEncoder:
    """Return the base's text encoder with other values where adapters change them. Raises ``BrokenCheckpoint``."""
    _, changed = _changed(node, "text_encoder", tools)
    half = tools.half_text and node.manner != "a1111"
    values = rounded_values(values_of(node, "text_encoder", tools), changed, tools, half=half, path=Path(node.name))
    conditioner = base.conditioner.with_values(values, tools.launcher())
    return TextEncoder(conditioner, record=_record(node, tools, base.record))


def rounded_values(values: Values, names: Iterable[str], tools: Tools, *, half: bool, path: Path) -> dict[str, Tensor]:
    """Return the parameters ``names`` in the networks' precision, each rounded once; ``half``: to float16 first.

    Raises ``BrokenCheckpoint``, on ``path``, for values beyond the range of that.
    """
    found: dict[str, Tensor] = {}
    for name in sorted(names):
        value, finite = rounded(values.value(name), tools.device, tools.dtype, half=half)
        if not finite:
            raise BrokenCheckpoint(path, f"with it, {name} is out of the range of {tools.dtype}")
        found[name] = value
    return found


def _record(node: Weights, tools: Tools, base: dict[str, Any]) -> dict[str, Any]:
    """What a picture's record says: the base, and each adapter with its hash and the number of idle tensors."""
    adapters = [
        {
            "file": adapter.path.name,
            "hash": adapter_hash(adapter.path),
            "strength": each.strength,
            "unknown_tensors": len(adapter.unknown),
        }
        for each, adapter in zip(_stack(node), adapters_of(node, tools), strict=True)
    ]
    return base | {"adapters": adapters}
