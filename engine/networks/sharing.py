"""Copies of modules that share their tensors, so that some of these can be replaced. Knows no network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from engine.networks.operations import fixed

M = TypeVar("M", bound=nn.Module)


def sharing_copy(module: M, values: Mapping[str, Tensor]) -> M:
    """A copy of ``module`` with other values for some parameters; all other tensors are the same ones."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    copied = copy.deepcopy(module, shared)
    for name, value in values.items():
        parent, _, leaf = name.rpartition(".")
        setattr(copied.get_submodule(parent), leaf, fixed(value))
    return copied
