"""The tensors of a file → the weights of modules, converted and checked. Knows no layout and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from engine.checkpoint.copying import assign, rounded, what_is_not_finite
from engine.checkpoint.shapes import Blueprint
from engine.checkpoint.weights import Weights
from engine.device.memory import out_of_memory
from engine.errors import BrokenCheckpoint, OutOfMemory


def fill(
    path: Path,
    weights: Weights,
    blueprints: Sequence[Blueprint],
    device: torch.device,
    dtype: torch.dtype,
    *,
    half: Blueprint | None = None,
) -> None:
    """Give the modules of ``blueprints``, which have no weights yet, those of the file in ``path``, on ``device``.

    The values of the blueprint ``half`` are rounded to float16 where ``dtype`` is float32.

    Raises ``BrokenCheckpoint`` for values that cannot be read or are not finite as ``dtype``, and ``OutOfMemory``.
    """
    try:
        _fill(path, weights, blueprints, device, dtype, half)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        size = sum(map(parameters_of, blueprints)) * dtype.itemsize
        raise OutOfMemory(
            f"{path.name}: its {size:,} bytes as {dtype} do not fit into the memory of {device}"
        ) from error


def parameters_of(blueprint: Blueprint) -> int:
    """Return how many values the parameters of ``blueprint`` have."""
    return sum(parameter.numel() for parameter in blueprint.module.parameters())


def _fill(
    path: Path,
    weights: Weights,
    blueprints: Sequence[Blueprint],
    device: torch.device,
    dtype: torch.dtype,
    half: Blueprint | None,
) -> None:
    owners = {
        blueprint.names[name]: (blueprint.module, name)
        for blueprint in blueprints
        for name, _ in blueprint.module.named_parameters()
    }
    for name in [name for name in weights.shapes if name in owners]:  # the file's order, so that the disk reads ahead
        module, parameter = owners[name]
        shape = module.get_parameter(parameter).shape
        try:
            stored = weights.take(name)
        except Exception as error:
            raise BrokenCheckpoint(path, f"its tensor {name} cannot be read ({error})") from error
        in_half = half is not None and module is half.module
        value, finite = rounded(stored.reshape(shape), device, dtype, half=in_half)
        if not finite:
            raise BrokenCheckpoint(path, what_is_not_finite(name, stored, torch.float16 if in_half else dtype))
        assign(module, parameter, nn.Parameter(value, requires_grad=False))
    for blueprint in blueprints:
        for name, buffer in list(blueprint.module.named_buffers()):
            assert name.endswith("position_ids"), name  # the one buffer; it counts up, whatever files say
            assign(blueprint.module, name, torch.arange(buffer.shape[-1], device=device)[None])
        blueprint.module.eval()
