"""A T2I-adapter as one function: a picture → features for each level of a UNet.

Mou et al. 2023 (arXiv 2302.08453). Unlike a ControlNet it sees neither x nor the time: it runs once for a sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.networks.operations import Operations

CELL = 8
"""Pixels each way that become the channels of one cell."""

Step: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""The shape of a convolution's weight; or, by name, those of a residual block: ``block1``, ``block2``, perhaps
``skep``, the convolution around them."""


class AdapterLayers(nn.Module):
    """The layers of a T2I-adapter: ``entrance``, and for each level convolutions and residual blocks in turn."""

    def __init__(self, entrance: tuple[int, ...] | None, levels: Sequence[Sequence[Step]]) -> None:
        """``entrance``: the shape of the weight of the convolution before the first level; None: there is none."""
        super().__init__()
        self.entrance = None if entrance is None else _convolution(entrance)
        self.levels = nn.ModuleList(nn.ModuleList(map(_layer, level)) for level in levels)
        first: Any = next(layer for layer in self.modules() if isinstance(layer, nn.Conv2d))
        self.channels: int = first.in_channels // CELL**2
        """Of the picture: 3, or 1 for one of grey."""


class T2iAdapter:
    """Makes what is added to the levels of a UNet's way down. Lays the weights out as its operations want them."""

    def __init__(self, module: AdapterLayers, operations: Operations) -> None:
        self._module: Any = module
        self._operations = operations
        self.dtype: torch.dtype = next(module.parameters()).dtype
        operations.lay_out(module)

    def features(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the features of a picture (1, 3, 8h, 8w), 0 … 1, for each level, full resolution first.

        They are (1, c, h, w), (1, c', ⌈h/2⌉, ⌈w/2⌉), … in the network's dtype. An adapter for grey is given the mean
        of the channels.
        """
        operations, module = self._operations, self._module
        if module.channels == 1:
            picture = picture.mean(dim=1, keepdim=True)
        x = functional.pixel_unshuffle(picture.to(self.dtype), CELL).contiguous(memory_format=operations.layout)
        if module.entrance is not None:
            x = operations.convolve(x, module.entrance)
        features: list[Tensor] = []
        for level in module.levels:
            x = _halved(x) if features else x
            for layer in level:
                x = operations.convolve(x, layer) if isinstance(layer, nn.Conv2d) else self._residual(x, layer)
            features.append(x)
        return tuple(features)

    def _residual(self, x: Tensor, block: Any) -> Tensor:
        operations = self._operations
        around = operations.convolve(x, block["skep"]) if "skep" in block else x
        return operations.convolve_add(
            functional.relu(operations.convolve(x, block["block1"])), block["block2"], around
        )


def _halved(x: Tensor) -> Tensor:
    """The means of 2 × 2 pixels; at an odd side there are zeros around, so that half is rounded up as the UNet does."""
    return functional.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2))


def _layer(step: Step) -> nn.Module:
    if isinstance(step, Mapping):
        return nn.ModuleDict({name: _convolution(shape) for name, shape in step.items()})
    return _convolution(step)


def _convolution(shape: tuple[int, ...]) -> nn.Conv2d:
    outputs, inputs, height, width = shape
    return nn.Conv2d(inputs, outputs, (height, width), padding=(height // 2, width // 2))
