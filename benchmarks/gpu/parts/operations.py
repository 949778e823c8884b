"""Times each operation of a step and of a decode by shape, with every algorithm that could do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.backends import cudnn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.census import Attention, Convolution, Operation, Product
from benchmarks.gpu.timing import Call, by_turns

_LEAST_SHARE = 0.004
"""Of all operations of a kind: rarer ones are not timed."""

_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
_NOW = "now"
"""The variant that the engine uses."""


def attention(bench: Bench) -> Any:
    """Time each backend of torch's, with heads as they are and filled up to a power of two."""
    return _timed(bench, Attention, _attentions)


def convolutions(bench: Bench) -> Any:
    """Time cuDNN's choice, and its fastest with and without a fixed order."""
    return _timed(bench, Convolution, _convolutions)


def products(bench: Bench) -> Any:
    """Time matrix products by each of NVIDIA's libraries."""
    try:
        return _timed(bench, Product, _products)
    finally:
        if bench.device.type == "cuda":
            torch.backends.cuda.preferred_blas_library("default")


Variants = Mapping[str, Sequence[Call]]


def _timed(bench: Bench, kind: type[Operation], variants: Callable[[Bench, Any], Variants]) -> Any:
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for network, call in (
            ("step", bench.step(2)),
            ("step of 16 rows", bench.step(16)),
            ("decode", bench.decode(1)),
        ):
            counts = bench.census(call).of(kind)
            whole = sum(operation.operations * count for operation, count in counts.items())
            rows = found[network] = []
            for operation, count in counts.items():
                if operation.operations * count < _LEAST_SHARE * whole or bench.left < 20:
                    continue
                seconds, failed = by_turns(bench.device, variants(bench, operation), 2 if bench.simulated else 8)
                rows.append(
                    {
                        "operation": operation.name,
                        "count": count,
                        "operations": operation.operations,
                        "seconds": seconds,
                        "failed": failed,
                    }
                )
                torch.cuda.empty_cache()
    return found


def _attentions(bench: Bench, shape: Attention) -> Variants:
    def inputs(width: int) -> tuple[Tensor, Tensor, Tensor]:
        """As the engine has them: parts of one product, (R, heads, n, width)."""
        whole = shape.heads * width
        if shape.queries == shape.keys:
            parts = bench.random(shape.rows, shape.queries, 3 * whole).chunk(3, dim=-1)
        else:
            query = bench.random(shape.rows, shape.queries, whole)
            parts = (query, *bench.random(shape.rows, shape.keys, 2 * whole).chunk(2, dim=-1))
        q, k, v = (part.unflatten(2, (shape.heads, -1)).transpose(1, 2) for part in parts)
        return q, k, v

    def of(backend: SDPBackend | None, width: int) -> list[Call]:
        def call(q: Tensor, k: Tensor, v: Tensor) -> None:
            with sdpa_kernel(list(_BACKENDS.values()) if backend is None else backend):
                functional.scaled_dot_product_attention(q, k, v, scale=shape.width**-0.5)

        return [_bound(call, *inputs(width)) for _ in range(copies)]

    copies = bench.copies(2 * shape.rows * shape.heads * shape.width * (2 * shape.queries + 2 * shape.keys))
    q, k, v = inputs(shape.width)
    variants: dict[str, Sequence[Call]] = {
        _NOW: [_bound(functional.scaled_dot_product_attention, q, k, v) for _ in range(copies)]
    }
    for width in sorted({shape.width, max(64, 1 << (shape.width - 1).bit_length())}):
        filled = "" if width == shape.width else f", filled up to {width}"
        for name, backend in _BACKENDS.items():
            variants[name + filled] = of(backend, width)
    return variants


def _convolutions(bench: Bench, shape: Convolution) -> Variants:
    def inputs() -> tuple[Tensor, Tensor]:
        fan_in = shape.inputs * shape.side**2
        weight = bench.random(shape.outputs, shape.inputs, shape.side, shape.side, scale=fan_in**-0.5)
        return bench.random(shape.rows, shape.inputs, shape.height, shape.width), weight

    def by_cudnn(search: bool, fixed: bool, x: Tensor, weight: Tensor) -> None:
        with cudnn.flags(enabled=True, benchmark=search, deterministic=fixed, allow_tf32=False):
            functional.conv2d(x, weight, None, shape.stride, shape.margin)

    x, weight = inputs()
    sets = [inputs() for _ in range(bench.copies(x.nbytes + weight.nbytes))]
    return {
        _NOW: [_bound(by_cudnn, False, True, *each) for each in sets],
        "searched": [_bound(by_cudnn, True, True, *each) for each in sets],
        "searched, any order": [_bound(by_cudnn, True, False, *each) for each in sets],
    }


def _products(bench: Bench, shape: Product) -> Variants:
    def call(library: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        if bench.device.type == "cuda":
            torch.backends.cuda.preferred_blas_library(library)
        functional.linear(x, weight, bias)

    def inputs() -> tuple[Tensor, Tensor, Tensor | None]:
        weight = bench.random(shape.outputs, shape.inputs, scale=shape.inputs**-0.5)
        return bench.random(shape.rows, shape.inputs), weight, bench.random(shape.outputs) if shape.bias else None

    x, weight, _ = inputs()
    sets = [inputs() for _ in range(bench.copies(x.nbytes + weight.nbytes))]
    libraries = {_NOW: "default", "cublas": "cublas", "cublaslt": "cublaslt"}
    return {name: [_bound(call, library, *each) for each in sets] for name, library in libraries.items()}


def _bound(function: Callable[..., object], *arguments: Any) -> Call:
    return lambda: function(*arguments)
