"""How AUTOMATIC1111 changes one weight by an adapter, where that is not what ComfyUI does.

Products of two low-rank factors are float32 there too. All other kinds are computed in the file's own precision, and
the changed weight is rounded to it. DoRA always goes by the lengths of inputs. Knows no file and no name of a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.checkpoint.adapters.changes import IncompleteParts, Parts, difference_of


def changed(weight: Tensor, parts: Parts, strength: float, rank: int) -> Tensor:
    """Return ``weight``, float32, with a layer's change added ``strength`` times.

    ``parts`` are as the file has them. A product of two factors takes the first ``rank`` of their dimensions, and all
    where that is 0. Raises ``IncompleteParts``.
    """
    if "up" in parts or "down" in parts:
        parts = {name: part.float() for name, part in parts.items()}
    found = difference_of(parts, weight.shape, rank)
    if found is None:
        return weight
    scale, difference = found
    difference = difference * scale
    if "dora_scale" in parts:
        difference = _decomposed(weight, difference, parts["dora_scale"])
    return with_difference(weight, difference, strength)


def with_difference(weight: Tensor, difference: Tensor, strength: float) -> Tensor:
    """Return ``weight``, float32, with a difference added ``strength`` times, rounded to the difference's precision.

    Raises ``IncompleteParts``.
    """
    if difference.numel() != weight.numel():
        raise IncompleteParts(f"a difference of {tuple(difference.shape)} for a weight of {tuple(weight.shape)}")
    difference = difference.reshape(weight.shape)
    return (weight.to(difference.dtype) + difference * strength).float()


def bias_with_difference(bias: Tensor, difference: Tensor, strength: float) -> Tensor:
    """Return ``bias``, float32, with a difference added ``strength`` times. Raises ``IncompleteParts``."""
    if difference.shape != bias.shape:
        raise IncompleteParts(f"a difference of {tuple(difference.shape)} for a bias of {tuple(bias.shape)}")
    return bias + difference * strength


def _decomposed(weight: Tensor, difference: Tensor, scale: Tensor) -> Tensor:
    """The difference to the merged weight whose inputs are divided by their lengths and multiplied with ``scale``."""
    merged = difference + weight.to(difference.dtype)
    lengths = torch.linalg.vector_norm(merged.transpose(0, 1).flatten(1), dim=1)
    scales = scale.to(merged.dtype) / lengths.reshape(1, -1, *[1] * (merged.dim() - 2))
    change: Tensor = merged * scales - weight.to(difference.dtype)
    return change
