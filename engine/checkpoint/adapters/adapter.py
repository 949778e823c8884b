"""An adapter's file → the changes that it makes to the weights of a checkpoint's networks. Knows no format by name."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint.adapters import a1111
from engine.checkpoint.adapters.changes import IncompleteParts, changed, with_difference
from engine.checkpoint.adapters.names import Layer, Names, layer_names, parted
from engine.checkpoint.copying import is_finite
from engine.checkpoint.structure import NetworkKind, Structure
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint

_log = logging.getLogger(__name__)

_OTHER_MODELS = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""By the width of the text features that their cross-attention takes."""

_WHOLE = {"diff": "weight", "w_norm": "weight", "diff_b": "bias", "b_norm": "bias"}
"""Parts that are whole differences, and of which parameter."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A file's changes to one checkpoint's networks."""

    path: Path
    layers: Mapping[Layer, Mapping[str, str]]
    """Part → tensor, of each layer that the file has tensors for."""
    unknown: tuple[str, ...]
    """The names of tensors that no layer is found for."""
    _weights: Weights
    as_a1111: bool = False
    """Whether it is applied as AUTOMATIC1111 applies it."""

    def changes(self, network: NetworkKind) -> dict[str, tuple[Layer, bool]]:
        """Return the parameters that it changes: their layers, and whether the layer's own weight is meant, not its
        bias."""
        found: dict[str, tuple[Layer, bool]] = {}
        for layer, parts in self.layers.items():
            if layer.network != network:
                continue
            if any(_WHOLE.get(part) != "bias" for part in parts if part not in ("alpha", "dora_scale")):
                found[layer.weight] = (layer, True)
            if any(_WHOLE.get(part) == "bias" for part in parts):
                found[layer.weight.removesuffix("weight") + "bias"] = (layer, False)
        return found

    def changed(self, name: str, value: Tensor, network: NetworkKind, strength: float, rank: int = 0) -> Tensor:
        """Return ``value``, float32, of the parameter ``name`` with this adapter's change; may be the same memory.

        ``rank``: of a product of two factors, how many of its dimensions count; 0: all. Raises ``BrokenCheckpoint`` for
        tensors that do not fit the layer, or are not finite.
        """
        change = self.changes_of[network].get(name)
        if change is None:
            return value
        layer, of_weight = change
        parts = {part: self._take(tensor, value.device) for part, tensor in self.layers[layer].items()}
        try:
            for part, tensor in parts.items():
                if part in _WHOLE and (_WHOLE[part] == "weight") == of_weight:
                    value = self._with_difference(value, tensor, strength, of_weight)
            if not of_weight:
                return value
            if self.as_a1111:
                return a1111.changed(value, parts, strength, rank)
            return changed(value, parts, strength, rank)
        except IncompleteParts as error:
            tensors = next(iter(self.layers[layer].values()))
            raise BrokenCheckpoint(self.path, f"it does not fit this checkpoint at {tensors}: {error}") from None

    @functools.cached_property
    def changes_of(self) -> Mapping[NetworkKind, dict[str, tuple[Layer, bool]]]:
        """``changes`` of both networks."""
        return {"unet": self.changes("unet"), "text_encoder": self.changes("text_encoder")}

    def _with_difference(self, value: Tensor, difference: Tensor, strength: float, of_weight: bool) -> Tensor:
        if not self.as_a1111:
            return with_difference(value, difference, strength)
        added = a1111.with_difference if of_weight else a1111.bias_with_difference
        return added(value, difference, strength)

    def _take(self, name: str, device: torch.device) -> Tensor:
        try:
            tensor = self._weights.take(name).to(device)
            tensor = tensor if self.as_a1111 and tensor.is_floating_point() else tensor.to(torch.float32)
        except Exception as error:
            raise BrokenCheckpoint(self.path, f"its tensor {name} cannot be read ({error})") from error
        if tensor.numel() and not is_finite(tensor):
            raise BrokenCheckpoint(self.path, f"its tensor {name} holds NaN or infinite values")
        return tensor


def open_adapter(
    path: Path, structures: Mapping[NetworkKind, Structure], *, names: Names, values: bool = True
) -> Adapter:
    """Return the adapter in ``path``, for the networks of a checkpoint. Without ``values`` it only says what it
    changes.

    With the ``names`` of ``a1111`` it is applied as that program does. Raises ``BrokenCheckpoint`` for a file that is
    no adapter, or one for another kind of model; with ``a1111``, one whose names are not known changes nothing.
    """
    weights = open_weights(path, values=values)
    known = layer_names(structures["unet"], structures["text_encoder"], names)
    layers: dict[Layer, dict[str, str]] = {}
    for name, parts in parted(iter(weights.shapes)).items():
        if name in known and set(parts) - {"alpha", "dora_scale"}:
            layers[known[name]] = parts
    used = {tensor for parts in layers.values() for tensor in parts.values()}
    unknown = tuple(name for name in weights.shapes if name not in used)
    _refuse_others(path, weights, structures["unet"], layers, unknown)
    if not layers and not (names == "a1111" and parted(iter(weights.shapes))):
        shown = ", ".join(list(weights.shapes)[:3])
        raise BrokenCheckpoint(
            path, f"none of its {len(weights.shapes)} tensors changes a layer of this checkpoint: {shown}"
        )
    if unknown and values:
        _warn(path, path.stat().st_mtime_ns, unknown, len(weights.shapes))
    return Adapter(path, layers, unknown, weights, as_a1111=names == "a1111")


@functools.lru_cache(maxsize=64)  # once, although a model and a text encoder are each made with it
def _warn(path: Path, changed_ns: int, unknown: tuple[str, ...], total: int) -> None:
    shown = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
    _log.warning("%s: %d of its %d tensors change no layer: %s", path.name, len(unknown), total, shown)


def _refuse_others(
    path: Path, weights: Weights, unet: Structure, layers: Mapping[Layer, Mapping[str, str]], unknown: tuple[str, ...]
) -> None:
    own = next((shape[1] for name, shape in unet.shapes.items() if name.endswith("attn2.to_k.weight")), 0)
    for layer, parts in layers.items():
        if layer.weight.endswith("attn2.to_k.weight") and "down" in parts:
            shape = weights.shapes[parts["down"]]
            width = shape[1] if len(shape) > 1 else own
            if width != own and width in _OTHER_MODELS:
                what = f"it is a LoRA for {_OTHER_MODELS[width]}"
                raise BrokenCheckpoint(path, f"{what} ({parts['down']} takes {width} features, this UNet gives {own})")
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in unknown):
        raise BrokenCheckpoint(path, "it is a LoRA for Stable Diffusion XL: it changes a second text encoder")
