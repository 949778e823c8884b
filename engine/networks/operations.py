"""What the networks are made of, in torch's own operators or, on a GPU, fused by kernels.

Pictures are (R, C, h, w), in memory as ``layout`` says; tokens (R, n, C). Knows no network.
"""

from __future__ import annotations

import copy
import importlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.networks import onednn
from engine.networks.doubling import interleaved
from engine.networks.hints import Hints

_log = logging.getLogger(__name__)

_TRIALS = 4
_COMPARED = 1 << 19
"""Two ways of computing count as alike after so many trials, or so many values: rounding hides most differences."""

_MOST_CASES = 20_000
"""So many operations' shapes are remembered: of more pictures' sizes than anybody uses."""

_LARGE_CONVOLUTION = 3_000_000
"""Weights from which on a convolution of pictures that are not channels_last gains by oneDNN's layout: over few pixels
it is the weights that take long, over many the pictures are rearranged for nothing."""


class Operations:
    """The operations. With ``unit``, a row's result has the same bits in a call of any number of rows as in ``unit``.

    Kernels of convolutions, matrix products and attention are chosen by the whole shape, and may add up in another
    order where there are more rows, as may a CPU's group norm. Each of these operations therefore finds out, the first
    time that it meets a shape, in how large pieces its rows come out as they do in pieces of ``unit`` rows, and keeps
    to that. All else works row by row.
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
        """``prepack``: weights are laid out as oneDNN has them. ``hints``: where the search for pieces begins."""
        self.layout = layout
        self._prepack = prepack
        self._unit = unit
        self._kernels = kernels
        self._hints = hints or Hints()
        self.pieces: dict[tuple[Any, ...], int] = {}
        """Rows that each operation is given at a time, where that was tried out."""

    def for_rows_of(self, count: int) -> Operations:
        """The same for rows each of which stands for ``count``; the unit is a multiple of that."""
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
        """``layer`` of pictures; without its bias where somebody else adds that."""
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
        return self._by_rows(("linear", weight.shape, bias is None), lambda x: linear(x, weight, bias), x)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Attention of tokens (R, n, C) to (R, m, C) → (R, n, C)."""

        def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value))
            out = functional.scaled_dot_product_attention(q, k, v)
            return out.transpose(1, 2).flatten(2)

        return self._by_rows("attend", attended, query, key, value)

    def group_norm(self, x: Tensor, layer: nn.GroupNorm, *, shift: Tensor | None = None, silu: bool = True) -> Tensor:
        """``layer`` of pictures + ``shift``, (R, C) or (C,), then SiLU unless told otherwise."""
        if self._kernels is not None:
            normed: Tensor = self._kernels.group_norm(
                x, shift, layer.weight, layer.bias, layer.num_groups, layer.eps, silu
            )
            return normed
        if shift is not None:
            x = x + shift[..., None, None]

        def normed_of(x: Tensor) -> Tensor:
            return functional.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)

        # a CPU shares a large picture's channels_last pixels out among its threads, as the rows are fewer or more
        x = self._by_rows(("group_norm", layer.num_groups), normed_of, x)
        return functional.silu(x, inplace=True) if silu else x

    def layer_norm(self, x: Tensor, layer: nn.LayerNorm) -> Tensor:
        """``layer`` of tokens."""
        if self._kernels is not None:
            normed: Tensor
            _, normed = self._kernels.add_layer_norm(x, None, layer.weight, layer.bias, layer.eps)
            return normed
        return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)

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
        hidden, gate = x.chunk(2, dim=-1)
        return hidden * functional.gelu(gate)

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
        stride, padding = layer.stride, layer.padding
        assert isinstance(padding, tuple)

        def convolved(x: Tensor) -> Tensor:
            if layer.weight.is_mkldnn:
                return onednn.convolve(x, layer, layer.bias if bias else None)
            return functional.conv2d(x, layer.weight, layer.bias if bias else None, stride, padding)

        return self._by_rows(("convolve", layer.weight.shape, stride, bias), convolved, x)

    def pieces_of(self, rows: int) -> Counter[int]:
        """How many operations on ``rows`` rows are given how many at a time, of those that were tried."""
        tried = self.pieces.items()
        return Counter(size for (_, unit, first, *_), size in tried if unit == self._unit and first[0] == rows)

    def _by_rows(self, kind: Any, operation: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        rows, unit = inputs[0].shape[0], self._unit
        if unit is None or rows <= unit:
            return operation(*inputs)
        case = (kind, unit, *(given.shape for given in inputs))
        if case not in self.pieces:
            if len(self.pieces) >= _MOST_CASES:
                self.pieces.clear()
            hint = self._hints.piece(case) or rows
            first = rows if hint % unit else min(hint, rows)
            self.pieces[case] = self._largest_piece(operation, *inputs, unit=unit, first=first)
            self._hints.note_piece(case, self.pieces[case])
        return _in_pieces(operation, inputs, self.pieces[case])

    def _largest_piece(self, operation: Callable[..., Tensor], *inputs: Tensor, unit: int, first: int) -> int:
        """Rows in the largest pieces, from ``first`` on downwards, that come out as pieces of ``unit`` rows do."""
        size, compared = first, 0
        generator = torch.Generator(inputs[0].device).manual_seed(0)
        for _ in range(_TRIALS):
            if size == unit or compared >= _COMPARED:
                break
            if compared:
                inputs = tuple(torch.empty_like(given).normal_(generator=generator) for given in inputs)
            by_unit = _in_pieces(operation, inputs, unit)
            while size > unit and not torch.equal(_in_pieces(operation, inputs, size), by_unit):
                size = max(unit, size // 2)
            compared += by_unit.numel()
        return size


def operations_for(
    device: torch.device, dtype: torch.dtype, *, fused: bool, unit: int | None = None, hints: Hints | None = None
) -> Operations:
    """The operations for networks on ``device`` in ``dtype``; ``fused`` by kernels where Triton is there, and works.

    A CPU's group norm of channels_last loses digits, which float32 is there to keep.
    """
    plain = device.type == "cpu" and dtype == torch.float32
    layout = torch.contiguous_format if plain else torch.channels_last
    kernels = _kernels(device) if fused else None
    prepack = onednn.available(device, dtype)
    return Operations(layout=layout, unit=unit, kernels=kernels, prepack=prepack, hints=hints)


def _kernels(device: torch.device) -> ModuleType | None:
    try:
        kernels = importlib.import_module("engine.networks.kernels")
        x = torch.zeros(1, 2, 32, device=device)
        kernels.add_layer_norm(x, x, x[0, 0], x[0, 0], 1e-5)
    except Exception as error:  # no Triton, no compiler for its launchers, no such architecture
        _log.warning("no fused kernels: %s", error)
        return None
    return kernels


def fixed(weight: Tensor) -> nn.Parameter:
    """A weight that is not trained."""
    return nn.Parameter(weight, requires_grad=False)


def _in_pieces(operation: Callable[..., Tensor], inputs: tuple[Tensor, ...], size: int) -> Tensor:
    if inputs[0].shape[0] <= size:
        return operation(*inputs)
    return torch.cat([operation(*piece) for piece in zip(*(given.split(size) for given in inputs), strict=True)])


def tokens(x: Tensor) -> Tensor:
    """Pictures (R, C, h, w) → tokens (R, h·w, C); no copy where the layout is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)
