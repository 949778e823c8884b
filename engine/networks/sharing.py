"""Copies of networks that share their tensors, so that some of these can be replaced, and what such a copy holds."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from engine.networks.operations import fixed

M = TypeVar("M", bound=nn.Module)

_PACKED = re.compile(r"(?:(?P<block>.*)\.attn1\.to_[qkv]|.*\.(?P<all>attn2)\.to_[kv]|.*\.time_emb_proj)\.weight")
"""The layers whose weights are packed: each block's for itself, or those of all blocks."""


def sharing_copy(module: M, values: Mapping[str, Tensor]) -> M:
    """A copy of ``module`` with other values for some parameters; all other tensors are the same ones."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    copied = copy.deepcopy(module, shared)
    for name, value in values.items():
        parent, _, leaf = name.rpartition(".")
        setattr(copied.get_submodule(parent), leaf, fixed(value))
    return copied


def remade(changed: Iterable[str], names: Iterable[str]) -> set[str]:
    """The parameters that ``Unet.with_values`` needs so that those ``changed`` have other values.

    ``names`` are all of the UNet's. Layers whose weights lie one below the other are packed anew together.
    """
    packs: dict[str, set[str]] = {}
    for name in names:
        match = _PACKED.fullmatch(name)
        if match is not None:
            packs.setdefault(match["block"] or match["all"] or "time_emb_proj", set()).add(name)
    needed = set(changed)
    needed |= {name.removesuffix("bias") + "weight" for name in needed if name.endswith("upsamplers.0.conv.bias")}
    return needed.union(*(pack for pack in packs.values() if pack & needed))


def size_of_values(shapes: Mapping[str, Sequence[int]]) -> int:
    """The number of values that ``Unet.with_values`` holds for parameters of these shapes."""
    doubled = [shape for name, shape in shapes.items() if name.endswith("upsamplers.0.conv.weight")]
    shifted = [shape[0] for name, shape in shapes.items() if name.endswith(("time_emb_proj.bias", "conv1.bias"))]
    added = sum(4 * (outputs * inputs * 4 + outputs) for outputs, inputs, *_ in doubled)
    return sum(map(math.prod, shapes.values())) + added + sum(shifted)
