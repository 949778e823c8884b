"""What the networks are made of, in torch's own operators or, on a GPU, fused by kernels.

Pictures are (R, C, h, w), in memory as ``layout`` says; tokens (R, n, C). Knows no network.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.networks import onednn
from engine.networks.doubling import interleaved
from engine.networks.fusing import fused_kernels
from engine.networks.hints import Hints
from engine.networks.pieces import Operation, Pieces, Probes, in_pieces
from engine.networks.probes import attention_probes, convolution_probes, linear_probes

_LARGE_CONVOLUTION = 3_000_000
"""Weights from which a convolution of pictures that are not channels_last is faster in oneDNN's layout. Such layers see
few pixels, and moving the weights takes most of the time; over many pixels, rearranging the pictures costs more."""


class Operations:
    """The operations. With ``unit``, a row's result has the same bits in a call of any number of rows as in ``unit``.

    Convolutions, matrix products and attention run in the largest pieces for which probes show that they add up as
    pieces of ``unit`` rows do: ``pieces`` and ``probes`` say how. Norms and activations run in units on a CPU. All else
    moves values, or rounds single sums and products, with the same result in any order.
    """

    def __init__(
        self,
        *,
        layout: torch.memory_format = torch.contiguous_format,
        unit: int | None = None,
        kernels: ModuleType | None = None,
        prepack: bool = False,
        hints: Hints | None = None,
    ) -> None:
        """``prepack`` has weights laid out as oneDNN does; ``hints`` say where the search for pieces begins."""
        self.layout = layout
        self._prepack = prepack
        self._unit = unit
        self._kernels = kernels
        self._pieces = Pieces(hints or Hints())

    def for_rows_of(self, count: int) -> Operations:
        """The operations for rows each of which stands for ``count`` rows; the unit is a multiple of ``count``."""
        if count == 1:
            return self
        assert self._unit is None or self._unit % count == 0
        other = copy.copy(self)
        other._unit = self._unit and self._unit // count
        return other

    def repeat(self, x: Tensor, count: int) -> Tensor:
        """Each row, of pictures, tokens or vectors, ``count`` times, one after the other."""
        if x.dim() == 4 and self.layout == torch.channels_last:
            return self.pictures(self.repeat(tokens(x), count), x)
        return x[:, None].expand(-1, count, *x.shape[1:]).flatten(0, 1).contiguous()

    @property
    def fused(self) -> bool:
        """Whether kernels do what lies between convolutions and matrix products."""
        return self._kernels is not None

    def lay_out(self, module: nn.Module) -> None:
        """Lay the layers' weights out as the operations have them; the module itself may not be able to run then."""
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and layer.weight is not None:
                layer.weight = fixed(self.linear_weight(layer.weight))
            elif isinstance(layer, nn.Conv2d):
                layer.weight = fixed(self._convolution_weight(layer))

    def linear_weight(self, weight: Tensor) -> Tensor:
        """A weight (m, n) as ``linear`` has it."""
        return onednn.linear_weight(weight) if self._prepack else weight

    def convolve(self, x: Tensor, layer: nn.Conv2d, *, bias: bool = True) -> Tensor:
        """``layer`` of pictures; without its bias where the caller adds that."""
        if self._is_linear(layer):
            weight = layer.weight if layer.weight.is_mkldnn else layer.weight.flatten(1)
            return self.pictures(self.linear(tokens(x), weight, layer.bias if bias else None), x)
        if bias and self._kernels is not None:
            biased: Tensor = self._kernels.add(self.convolve(x, layer, bias=False), None, layer.bias)
            return biased
        return self._convolved(x, layer, bias=bias).contiguous(memory_format=self.layout)

    def convolve_doubled(self, x: Tensor, layer: nn.Conv2d) -> Tensor:
        """Pictures (R, n, h, w), doubled in size, then convolved: (R, m, 2h, 2w). ``layer``: of ``before_doubling``."""
        if self._kernels is not None:
            parts = self._convolved(x, layer, bias=False).contiguous(memory_format=self.layout)
            whole: Tensor = self._kernels.interleave(parts, layer.bias)
            return whole
        return interleaved(self._convolved(x, layer, bias=True), self.layout)

    def convolve_add(self, x: Tensor, layer: nn.Conv2d, other: Tensor) -> Tensor:
        """``layer`` of pictures, plus ``other``."""
        if self._kernels is None or layer.bias is None:
            return self.convolve(x, layer) + other
        added: Tensor = self._kernels.add(self.convolve(x, layer, bias=False), other, layer.bias)
        return added

    def pictures(self, x: Tensor, like: Tensor) -> Tensor:
        """Tokens (R, h·w, C) → pictures of ``like``'s height and width."""
        pictures: Tensor = x.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)
        return pictures.contiguous(memory_format=self.layout)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(R, …, n) → (R, …, m) with a weight (m, n)."""
        linear = onednn.linear if weight.is_mkldnn else functional.linear
        kind = ("linear", weight.shape, bias is None)
        probes = functools.partial(linear_probes, linear, x, weight, bias)
        return self._by_rows(kind, lambda x: linear(x, weight, bias), x, probes=probes)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Attention of tokens (R, n, C) to (R, m, C) → (R, n, C)."""

        def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value))
            out = functional.scaled_dot_product_attention(q, k, v)
            return out.transpose(1, 2).flatten(2)

        probes = functools.partial(attention_probes, attended, query, key, value, heads)
        return self._by_rows(("attend", heads), attended, query, key, value, probes=probes)

    def group_norm(self, x: Tensor, layer: nn.GroupNorm, *, shift: Tensor | None = None, silu: bool = True) -> Tensor:
        """``layer`` of pictures + ``shift``, (R, C) or (C,), then SiLU unless ``silu`` is False."""
        if self._kernels is not None:
            normed: Tensor = self._kernels.group_norm(
                x, shift, layer.weight, layer.bias, layer.num_groups, layer.eps, silu
            )
            return normed
        if shift is not None:
            x = x + shift[..., None, None]

        def normed_of(x: Tensor) -> Tensor:
            x = torch.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)  # of one value too
            return functional.silu(x, inplace=True) if silu else x

        return self.in_units(normed_of, x)

    def layer_norm(self, x: Tensor, layer: nn.LayerNorm) -> Tensor:
        """``layer`` of tokens."""
        if self._kernels is not None:
            normed: Tensor
            _, normed = self._kernels.add_layer_norm(x, None, layer.weight, layer.bias, layer.eps)
            return normed

        def normed_of(x: Tensor) -> Tensor:
            return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)

        return self.in_units(normed_of, x)

    def add_layer_norm(self, x: Tensor, y: Tensor, layer: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """x + y of tokens, and ``layer`` of that."""
        if self._kernels is not None:
            both: tuple[Tensor, Tensor] = self._kernels.add_layer_norm(x, y, layer.weight, layer.bias, layer.eps)
            return both
        total = x + y
        return total, self.layer_norm(total, layer)

    def enlarge(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Pictures in another size (h, w), each pixel taken from the nearest."""
        return functional.interpolate(x, size=tuple(size), mode="nearest")

    def gated(self, x: Tensor) -> Tensor:
        """GEGLU (Shazeer 2020, arXiv 2002.05202): (R, n, 2m) → (R, n, m), the first half times GELU of the second."""
        if self._kernels is not None:
            out: Tensor = self._kernels.gated(x)
            return out

        def gated_of(x: Tensor) -> Tensor:
            hidden, gate = x.chunk(2, dim=-1)
            return hidden * functional.gelu(gate)

        return self.in_units(gated_of, x)

    def silu(self, x: Tensor) -> Tensor:
        """x · sigmoid(x) of rows."""
        return self.in_units(functional.silu, x)

    def _is_linear(self, layer: nn.Conv2d) -> bool:
        """Whether it is a linear layer of the tokens, which are the pictures as they lie there."""
        return layer.kernel_size == (1, 1) and self.layout == torch.channels_last

    def _convolution_weight(self, layer: nn.Conv2d) -> Tensor:
        gains = self.layout == torch.channels_last or layer.weight.numel() >= _LARGE_CONVOLUTION
        if not self._prepack or not gains:
            return layer.weight.contiguous(memory_format=self.layout)
        return (
            self.linear_weight(layer.weight.flatten(1)) if self._is_linear(layer) else onednn.convolution_weight(layer)
        )

    def _convolved(self, x: Tensor, layer: nn.Conv2d, *, bias: bool) -> Tensor:
        """``layer`` of pictures, in any layout."""
        offset = layer.bias if bias else None
        kind = ("convolve", layer.weight.shape, layer.stride, layer.padding, offset is None)
        probes = functools.partial(convolution_probes, _convolve, x, layer, offset)
        return self._by_rows(kind, lambda x: _convolve(x, layer, offset), x, probes=probes)

    def pieces_of(self, rows: int) -> Counter[int]:
        """How many operations on ``rows`` rows are given how many at a time, of those that were probed."""
        return Counter(self.cases_of(rows).values())

    def cases_of(self, rows: int) -> dict[tuple[Any, ...], int]:
        """The operations on ``rows`` rows that were probed, and how many rows at a time each is given."""
        return {} if self._unit is None else self._pieces.of(rows, self._unit)

    def in_units(self, operation: Operation, *inputs: Tensor) -> Tensor:
        """``operation`` of ``inputs``, on a CPU in pieces of a unit of rows; for what no probe makes visible.

        The threads of a CPU split an operation's values by their number. The last values of a thread's share may be
        computed by other instructions (the exponential of a SiLU has two forms in torch), and a group norm's sums are
        cut where the shares are. On a GPU torch computes these operations row by row.
        """
        if self._unit is None or inputs[0].device.type != "cpu":
            return operation(*inputs)
        return in_pieces(operation, inputs, self._unit)

    def by_unit(self, operation: Operation, *inputs: Tensor) -> Tensor:
        """``operation`` of ``inputs`` in pieces of a unit of rows, on every device: for what is not worth probing."""
        return operation(*inputs) if self._unit is None else in_pieces(operation, inputs, self._unit)

    def _by_rows(self, kind: Any, operation: Operation, *inputs: Tensor, probes: Callable[[], Probes]) -> Tensor:
        if self._unit is None:
            return operation(*inputs)
        return self._pieces.compute(kind, self._unit, operation, inputs, probes)


def operations_for(
    device: torch.device,
    dtype: torch.dtype,
    *,
    fused: bool,
    unit: int | None = None,
    hints: Hints | None = None,
    of_pixels: bool = False,
) -> Operations:
    """The operations for networks on ``device`` in ``dtype``; ``fused`` by kernels where Triton is installed and works.

    A CPU's group norm of channels_last loses digits, so that float32 pictures are not laid out like that; but where
    pixels enter, ``of_pixels``, they are: ComfyUI has them like that, and its result is the lossy one.
    """
    plain = device.type == "cpu" and dtype == torch.float32 and not of_pixels
    layout = torch.contiguous_format if plain else torch.channels_last
    kernels = fused_kernels(device) if fused else None
    prepack = onednn.available(device, dtype)
    return Operations(layout=layout, unit=unit, kernels=kernels, prepack=prepack, hints=hints)


def fixed(weight: Tensor) -> nn.Parameter:
    """``weight`` as a parameter that is not trained."""
    return nn.Parameter(weight, requires_grad=False)


def tokens(x: Tensor) -> Tensor:
    """Pictures (R, C, h, w) → tokens (R, h·w, C); no copy where the layout is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _convolve(x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
    if layer.weight.is_mkldnn:
        return onednn.convolve(x, layer, bias)
    return functional.conv2d(x, layer.weight, bias, layer.stride, layer.padding)
