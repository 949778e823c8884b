"""Weights as oneDNN lays them out for itself, on x86 CPUs. torch's plain operators rearrange them anew for every call.

The operators are those that torch.compile emits for weights that it may freeze; they are not public, so that
``available`` looks whether they are there. Knows no network.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

_OPERATORS = (
    *("_reorder_linear_weight", "_reorder_convolution_weight"),
    *("_linear_pointwise", "_convolution_pointwise"),
)
_DTYPES = (torch.float32, torch.bfloat16)
_NOTHING_MORE: tuple[str, list[float], str] = ("none", [], "")
"""No activation is fused."""


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether networks on ``device`` in ``dtype`` can have their weights laid out so."""
    return (
        device.type == "cpu"
        and dtype in _DTYPES
        and platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
    )


def linear_weight(weight: Tensor) -> Tensor:
    """(m, n), laid out for ``linear``."""
    laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
    return laid_out


def convolution_weight(layer: nn.Conv2d) -> Tensor:
    """The layer's (m, n, kernel's height, width), laid out for ``convolve``."""
    weight = layer.weight.detach().contiguous()
    arguments = layer.padding, layer.stride, layer.dilation, layer.groups
    laid_out: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, *arguments)
    return laid_out


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(R, …, n) → (R, …, m)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, *_NOTHING_MORE)
    return out


def convolve(x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
    """The layer, whose weight is laid out, of pictures (R, n, h, w), with ``bias`` for its own."""
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, layer.weight, bias, layer.padding, layer.stride, layer.dilation, layer.groups, *_NOTHING_MORE
    )
    return out
