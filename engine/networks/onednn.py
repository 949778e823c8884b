"""Weights as oneDNN lays them out for itself, on x86 CPUs. Torch's plain operators rearrange them anew for every call.

The operators are those that torch.compile emits for weights that it may freeze. They are not public, so that
``available`` checks that they exist and work. Knows no network.
"""

from __future__ import annotations

import functools
import logging
import platform

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)

_OPERATORS = (
    *("_reorder_linear_weight", "_reorder_convolution_weight"),
    *("_linear_pointwise", "_convolution_pointwise"),
)
_DTYPES = (torch.float32, torch.bfloat16)
_NOTHING_MORE: tuple[str, list[float], str] = ("none", [], "")
"""No activation is fused."""


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether networks on ``device`` can have weights in ``dtype`` that oneDNN lays out."""
    return (
        device.type == "cpu"
        and dtype in _DTYPES
        and platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
        and _works(dtype)
    )


@functools.cache
@torch.no_grad()
def _works(dtype: torch.dtype) -> bool:
    """Whether the processor has the instructions: without AVX-512 oneDNN may have no kernels for bfloat16."""
    layer = nn.Conv2d(16, 16, 3, padding=1, bias=False, device="meta")
    layer.weight = nn.Parameter(torch.zeros(16, 16, 3, 3, dtype=dtype), requires_grad=False)
    x = torch.zeros(1, 16, 4, 4, dtype=dtype)
    try:
        linear(x.flatten(2), linear_weight(x[0].flatten(1)), None)
        layer.weight = nn.Parameter(convolution_weight(layer), requires_grad=False)
        convolve(x, layer, None)
    except RuntimeError as error:
        _log.info("weights in %s are not laid out by oneDNN: %s", str(dtype).removeprefix("torch."), error)
        return False
    return True


def linear_weight(weight: Tensor) -> Tensor:
    """A weight (m, n), laid out for ``linear``."""
    laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
    return laid_out


def convolution_weight(layer: nn.Conv2d) -> Tensor:
    """The layer's weight (m, n, kernel's height, width), laid out for ``convolve``."""
    weight = layer.weight.detach().contiguous()
    arguments = layer.padding, layer.stride, layer.dilation, layer.groups
    laid_out: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, *arguments)
    return laid_out


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product (R, …, m) of x (R, …, n) with a weight that is laid out, plus ``bias`` (m,)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, *_NOTHING_MORE)
    return out


def convolve(x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
    """The layer, whose weight is laid out, of pictures (R, n, h, w), with ``bias`` in place of its own."""
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, layer.weight, bias, layer.padding, layer.stride, layer.dilation, layer.groups, *_NOTHING_MORE
    )
    return out
