"""Lists the convolutions, matrix products and attentions of a network's call, by shape, with how often each occurs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution of (rows, inputs, height, width)."""

    rows: int
    inputs: int
    height: int
    width: int
    outputs: int
    side: int
    stride: int
    margin: int

    @property
    def name(self) -> str:
        size = f"{self.rows}x{self.height}x{self.width}x{self.inputs}"
        return f"{size} to {self.outputs}, {self.side}x{self.side}" + (f" by {self.stride}" if self.stride > 1 else "")

    @property
    def operations(self) -> int:
        """One multiply-add is two."""
        pixels = math.prod(
            (size + 2 * self.margin - self.side) // self.stride + 1 for size in (self.height, self.width)
        )
        return 2 * self.rows * pixels * self.inputs * self.outputs * self.side**2


@dataclass(frozen=True, kw_only=True)
class Product:
    """A linear layer of (rows, inputs)."""

    rows: int
    inputs: int
    outputs: int
    bias: bool

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.inputs} to {self.outputs}" + (", bias" if self.bias else "")

    @property
    def operations(self) -> int:
        """One multiply-add is two."""
        return 2 * self.rows * self.inputs * self.outputs


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Attention of (rows, heads, queries, width) to (rows, heads, keys, width)."""

    rows: int
    heads: int
    queries: int
    keys: int
    width: int

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.heads} heads of {self.width}, {self.queries} to {self.keys}"

    @property
    def operations(self) -> int:
        """One multiply-add is two."""
        return 4 * self.rows * self.heads * self.queries * self.keys * self.width


Operation = Convolution | Product | Attention


class Census(TorchFunctionMode):
    """Counts the operations of what runs within it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Operation] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = _READ.get(function)
        if read is not None:
            self.counts[read(*args, **(kwargs or {}))] += 1
        return function(*args, **(kwargs or {}))

    def of(self, kind: type[Operation]) -> dict[Any, int]:
        """Return the operations of one kind with how often each occurs, the most work first."""
        own = {operation: count for operation, count in self.counts.items() if isinstance(operation, kind)}
        return dict(sorted(own.items(), key=lambda item: -item[0].operations * item[1]))


def _convolution(x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, *_: Any) -> Operation:
    sizes = dict(zip(("rows", "inputs", "height", "width"), x.shape, strict=True))
    stride, margin = (size[0] if isinstance(size, tuple) else size for size in (stride, padding))
    return Convolution(**sizes, outputs=weight.shape[0], side=weight.shape[2], stride=stride, margin=margin)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Operation:
    return Product(rows=x.numel() // x.shape[-1], inputs=x.shape[-1], outputs=weight.shape[0], bias=bias is not None)


def _attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Operation:
    rows, heads, queries, width = query.shape
    return Attention(rows=rows, heads=heads, queries=queries, keys=key.shape[2], width=width)


_READ: dict[Any, Callable[..., Operation]] = {
    torch.conv2d: _convolution,
    functional.linear: _product,
    functional.scaled_dot_product_attention: _attention,
}
