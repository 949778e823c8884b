"""Loads models and text encoders that are mixed from others, weight by weight; they share tensors with none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.batching.denoiser import Denoiser
from engine.checkpoint.contents import Contents, read_contents
from engine.checkpoint.copying import assign
from engine.checkpoint.structure import NetworkKind, structures_of
from engine.checkpoint.weights import open_weights
from engine.errors import BrokenCheckpoint
from engine.networks.operations import fixed
from engine.networks.sharing import size_of_values
from engine.networks.unet import Unet
from engine.running.model import Network, TextEncoder
from engine.running.residents.adapters import rounded_values
from engine.running.residents.checkpoints import hints_for, record_of
from engine.running.residents.expressions import checkpoint_of, values_of
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.text.conditioning import Conditioner
from engine.workflow.merging import MERGED_CLIPS, MERGED_MODELS, Merge
from engine.workflow.weights import paths_of


def unet_size(node: Merge, tools: Tools) -> int:
    """Bytes of the whole UNet."""
    return size_of_values(structures_of(checkpoint_of(node))["unet"].shapes) * tools.dtype.itemsize


def text_size(node: Merge, tools: Tools) -> int:
    """Bytes of the whole text encoder."""
    shapes = structures_of(checkpoint_of(node))["text_encoder"].shapes
    return sum(map(math.prod, shapes.values())) * tools.dtype.itemsize


def load_unet(node: Merge, tools: Tools) -> Network:
    """Return a network of its own. Raises ``BrokenCheckpoint``."""
    module: Any = _contents(node).unet.module
    _fill(module, node, "unet", tools, half=False)
    hints = hints_for(module, tools)
    unet = Unet(module, tools.operations(by_rows=True, hints=hints))
    denoiser = Denoiser(unet, exact=tools.exact, sizes=tools.sizes, launcher=tools.launcher(), hints=hints)
    return Network(denoiser, record=_record(node, tools) | {"form": denoiser.form})


def load_text(node: Merge, tools: Tools) -> TextEncoder:
    """Return a text encoder of its own. Raises ``BrokenCheckpoint``."""
    part = _contents(node).text_encoder
    if part is None:
        raise BrokenCheckpoint(checkpoint_of(node), "it holds no text encoder that could be merged")
    module: Any = part.module
    _fill(module, node, "text_encoder", tools, half=tools.half_text)
    return TextEncoder(Conditioner(module, tools.launcher()), record=_record(node, tools))


for _kind in MERGED_MODELS:
    resident(_kind, size=unet_size)(load_unet)
for _kind in MERGED_CLIPS:
    resident(_kind, size=text_size)(load_text)


def _contents(node: Merge) -> Contents:
    weights = open_weights(checkpoint_of(node), values=False)
    return read_contents(weights.shapes, weights.dtypes)


def _fill(module: nn.Module, node: Merge, network: NetworkKind, tools: Tools, *, half: bool) -> None:
    path = checkpoint_of(node)
    names = [name for name, _ in module.named_parameters()]
    for name, value in rounded_values(values_of(node, network, tools), names, tools, half=half, path=path).items():
        assign(module, name, fixed(value))
    for name, buffer in list(module.named_buffers()):
        assign(module, name, torch.arange(buffer.shape[-1], device=tools.device)[None])
    module.eval()


def _record(node: Merge, tools: Tools) -> dict[str, Any]:
    return record_of(checkpoint_of(node), tools) | {"merged": [Path(path).name for path in paths_of(node)]}
