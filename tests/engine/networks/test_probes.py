"""Probes: an operation that adds up one value of a million in another order is found out; those that agree pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.networks import onednn
from engine.networks.hints import Hints
from engine.networks.operations import Operations, operations_for
from engine.networks.pieces import Inputs, Operation, Pieces
from engine.networks.probes import attention_probes, convolution_probes, linear_probes

UNIT = 2
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def added(terms: Tensor) -> Tensor:
    """The terms' float32 sum, one after the other."""
    return torch.tensor(np.cumsum(terms.numpy(), dtype=np.float32)[-1])


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "backwards": lambda terms: added(terms.flip(0)),
    "halves": lambda terms: added(terms[: len(terms) // 2]) + added(terms[len(terms) // 2 :]),
    "lanes": lambda terms: added(torch.stack([added(terms[lane::7]) for lane in range(7)])),
}


def size_found(operation: Operation, inputs: Inputs, probes: Callable[[], Any]) -> int:
    """The size of the pieces that an operation is computed in."""
    pieces = Pieces(Hints())
    pieces.compute("test", UNIT, operation, inputs, probes)
    (size,) = pieces.sizes.values()
    return size


def size_of_products(linear: Callable[..., Tensor], x: Tensor, weight: Tensor) -> int:
    return size_found(lambda x: linear(x, weight, None), (x,), lambda: linear_probes(linear, x, weight, None))


@pytest.mark.parametrize("order", ORDERS)
@DTYPES
@torch.inference_mode()
def test_a_product_with_one_value_of_a_million_in_another_order_is_found_out(dtype: torch.dtype, order: str) -> None:
    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = functional.linear(x, weight, bias)
        if len(x) > UNIT:
            out[-1, -1, -1] = ORDERS[order](x[-1, -1].float() * weight[-1].float())
        return out

    x, weight = torch.zeros(16, 256, 300, dtype=dtype), torch.zeros(256, 300, dtype=dtype)
    assert linear(x, weight, None).numel() >= 1_000_000
    assert size_of_products(linear, x, weight) == UNIT


@pytest.mark.parametrize("order", ORDERS)
@DTYPES
@torch.inference_mode()
def test_a_convolution_with_one_value_of_a_million_in_another_order_is_found_out(
    dtype: torch.dtype, order: str
) -> None:
    def convolve(x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
        out = functional.conv2d(x, layer.weight, bias, layer.stride, layer.padding)
        if len(x) > UNIT:
            out[-1, -1, 5, 7] = ORDERS[order]((x[-1, :, 4:7, 6:9].float() * layer.weight[-1].float()).flatten())
        return out

    layer, x = nn.Conv2d(64, 64, 3, padding=1, dtype=dtype), torch.zeros(16, 64, 32, 32, dtype=dtype)
    assert convolve(x, layer, None).numel() >= 1_000_000
    probes = convolution_probes(convolve, x, layer, None)
    assert size_found(lambda x: convolve(x, layer, None), (x,), lambda: probes) == UNIT


@pytest.mark.parametrize("part", ["scores", "values"])
@DTYPES
@torch.inference_mode()
def test_an_attention_with_one_value_of_a_million_in_another_order_is_found_out(dtype: torch.dtype, part: str) -> None:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (whole.unflatten(2, (8, -1)).transpose(1, 2) for whole in (query, key, value))
        out = functional.scaled_dot_product_attention(q, k, v)
        if len(query) > UNIT:  # the same sums, the other way round
            turned = (q.flip(3), k.flip(3), v) if part == "scores" else (q, k.flip(2), v.flip(2))
            out[-1, -1, -1, -1] = functional.scaled_dot_product_attention(*turned)[-1, -1, -1, -1]
        return out.transpose(1, 2).flatten(2)

    q, k, v = (torch.zeros(16, tokens, 320, dtype=dtype) for tokens in (256, 77, 77))
    assert attend(q, k, v).numel() >= 1_000_000
    assert size_found(attend, (q, k, v), lambda: attention_probes(attend, q, k, v, 8)) == UNIT


@pytest.mark.parametrize("terms", [36, 320, 1280])
@DTYPES
@torch.inference_mode()
def test_another_order_shows_in_most_values_and_does_not_with_ordinary_ones(dtype: torch.dtype, terms: int) -> None:
    def both_ways(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        products = x.float()[:, None] * weight.float()
        return torch.stack([torch.tensor(np.cumsum(way.numpy(), -1)[..., -1]) for way in (products, products.flip(2))])

    def share(ways: Tensor) -> float:
        forwards, backwards = ways.to(dtype)
        return float((forwards != backwards).float().mean())

    x, weight = (torch.randn(64, terms, generator=torch.Generator().manual_seed(n)).to(dtype) for n in range(2))
    for operation, (probe,) in itertools.islice(linear_probes(both_ways, x, weight, None), 3):
        assert share(operation(probe)) > 0.9
    if dtype == torch.bfloat16:
        assert share(both_ways(x, weight, None)) < 0.01


@pytest.mark.parametrize("channels", [6, 7])
@torch.inference_mode()
def test_the_sums_of_probes_cancel(channels: int) -> None:
    """In bfloat16, whose products and sums over a few dozen terms are exact in float64."""

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x.double(), weight.double())

    def convolve(x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x.double(), layer.weight.double(), None, layer.stride, layer.padding)

    x = torch.zeros(3, channels, 5, 4, dtype=torch.bfloat16)
    layer = nn.Conv2d(channels, 8, 3, stride=2, padding=1, dtype=torch.bfloat16)
    weight = torch.zeros(8, 4, dtype=torch.bfloat16)
    for probes in (linear_probes(linear, x, weight, None), convolution_probes(convolve, x, layer, None)):
        operation, inputs = next(probes)
        assert not operation(*inputs).any()
        assert inputs[0].abs().max() > 2.0**7


@torch.inference_mode()
def test_attentions_weighted_values_cancel_and_scores_every_other_time() -> None:
    q, k, v = (torch.zeros(2, tokens, 64, dtype=torch.bfloat16) for tokens in (10, 77, 77))
    probes = attention_probes(lambda *inputs: torch.stack(inputs), q, k, v, 4)
    for canceling, (_, probe) in zip((True, False, True, False), probes, strict=False):
        query, key, value = (part.double().unflatten(2, (4, -1)).transpose(1, 2) for part in probe)
        scores = query @ key.transpose(2, 3)
        assert bool(scores.any()) != canceling
        assert (scores.softmax(-1) @ value).abs().max() < 1e-12 * value.abs().max()


class Seen:
    """A function of tensors that notes their shapes, strides, dtypes and layouts."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.seen: list[tuple[Any, ...]] = []

    def __call__(self, *inputs: Any) -> Tensor:
        tensors = [given.weight if isinstance(given, nn.Module) else given for given in inputs if given is not None]
        self.seen.append(tuple((x.shape, x.dtype, x.is_mkldnn, None if x.is_mkldnn else x.stride()) for x in tensors))
        return self.function(*inputs)


@pytest.mark.parametrize("prepacked", [False, True])
@DTYPES
@torch.inference_mode()
def test_probes_have_the_memory_layout_of_what_they_stand_for(dtype: torch.dtype, prepacked: bool) -> None:
    if prepacked and not onednn.available(torch.device("cpu"), dtype):
        pytest.skip("oneDNN lays out no weights of this dtype here")
    operations = Operations(layout=torch.channels_last, prepack=prepacked)
    layer = nn.Conv2d(32, 48, 3, padding=1, dtype=dtype)
    operations.lay_out(nn.ModuleList([layer]))
    weight = operations.linear_weight(torch.zeros(5, 32, dtype=dtype))
    pictures = torch.zeros(4, 32, 6, 7, dtype=dtype).contiguous(memory_format=torch.channels_last)
    q, k, v = torch.zeros(4, 9, 96, dtype=dtype).chunk(3, dim=-1)
    linear = Seen(onednn.linear if prepacked else functional.linear)
    convolve = Seen(lambda x, layer, bias: x)
    attend = Seen(lambda q, k, v: q)
    for seen, probes, given in (
        (linear, linear_probes(linear, q, weight, None), (q, weight, None)),
        (convolve, convolution_probes(convolve, pictures, layer, layer.bias), (pictures, layer, layer.bias)),
        (attend, attention_probes(attend, q, k, v, 4), (q, k, v)),
    ):
        seen(*given)
        operation, inputs = next(probes)
        operation(*inputs)
        real, probe = seen.seen
        assert real == probe


@DTYPES
@torch.inference_mode()
def test_rows_that_are_computed_alike_share_a_piece(dtype: torch.dtype) -> None:
    def by_row(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.stack([functional.linear(row, weight) for row in x])

    assert size_of_products(by_row, torch.zeros(16, 7, 64, dtype=dtype), torch.zeros(32, 64, dtype=dtype)) == 16


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@pytest.mark.parametrize(("kernel", "channels", "side"), [(1, 64, 1), (1, 64, 2), (3, 64, 2), (3, 32, 8), (1, 128, 5)])
@DTYPES
@torch.inference_mode()
def test_small_convolutions_have_the_same_bits_in_calls_of_any_size(
    dtype: torch.dtype, kernel: int, channels: int, side: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.networks.operations._LARGE_CONVOLUTION", 0)
    operations = operations_for(torch.device("cpu"), dtype, fused=False, unit=UNIT)
    if form == "plain":
        operations = Operations(unit=UNIT)
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, dtype=dtype)
    operations.lay_out(nn.ModuleList([layer]))
    for seed in range(40):
        x = torch.randn(8, channels, side, side, generator=torch.Generator().manual_seed(seed)).to(dtype)
        x = x.contiguous(memory_format=operations.layout)
        whole = operations.convolve(x, layer)
        assert all(
            torch.equal(whole[i : i + 2], operations.convolve(x[i : i + 2].clone(), layer)) for i in (0, 2, 4, 6)
        )
