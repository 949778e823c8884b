"""Inputs and weights that make the order of a sum visible: its exact value is 0, so that its result is rounding alone.

Ordinary values in half precision do not show whether two kernels add up alike: the last rounding, to 8 or 11 bits,
hides nearly every difference of the float32 sums before it. (A bfloat16 product of 320 terms, added up backwards,
differs in 1 of 10,000 values; with a probe in 99 of 100.) Here every term of a sum has a partner of the same size and
the other sign at a random place, and sizes are spread over 24 octaves, as many as float32 has bits. Large terms swallow
small ones until their partners come, so that what is left depends on the order; since it is the whole result, the last
rounding keeps it. In float32, too, more orders show than with ordinary values.

A layer's probe has weights of its own, with the shape, dtype and layout of the layer's: with the layer's weights, sums
could cancel for no more outputs than there are inputs to spare. Kernels are chosen by shapes, strides, dtypes and the
alignment of memory, never by values, so that a probe runs on the kernels of its layer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.networks import onednn
from engine.networks.pieces import Probes

_SMALLEST, _OCTAVES = -14.0, 24.0
"""Terms are spread from 2^-14, float16's smallest normal number, upwards."""

_BIAS = 2.0**-8
"""About what is left of a sum. A bias that is added first is swallowed, one that is added last is not."""

_SCORES, _KEY = -12.0, 10.0
"""Queries are spread from 2^-12 to 2^12 and keys are about 2^10: what is left of their products is about 1."""

_ORDINARY = -6.0
"""Queries from 2^-6 to 1 with keys of about 1 make ordinary attention, spread over many keys."""

_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The places of a sum, paired at random; of an odd number one stays alone."""

    place: Tensor
    """Each place's pair, (n,), from 0 to ``count`` − 1."""

    sign: Tensor
    """1 for one place of each pair, −1 for the other and 0 for the one without a partner: float32 (n,)."""

    count: int
    """Number of pairs, with the place that has no partner."""

    @classmethod
    def of(cls, places: int, generator: torch.Generator) -> Pairs:
        """``places`` paired by ``generator``, on its device."""
        order = torch.randperm(places, generator=generator, device=generator.device)
        count = (places + 1) // 2
        numbers = torch.arange(places, device=generator.device)
        signs = torch.ones(places, device=generator.device)
        signs[count:] = -1
        signs[places // 2 : count] = 0
        place, sign = torch.empty_like(numbers), torch.empty_like(signs)
        place[order], sign[order] = numbers % count, signs
        return cls(place=place, sign=sign, count=count)

    @property
    def even(self) -> Pairs:
        """The same pairs, both places of each with the same sign."""
        return replace(self, sign=torch.ones_like(self.sign))

    def each(self, times: int) -> Pairs:
        """The same pairs in each of ``times`` sums that lie one after the other."""
        first = torch.arange(times, device=self.place.device) * self.count
        place = (first[:, None] + self.place).flatten()
        return Pairs(place=place, sign=self.sign.repeat(times), count=self.count * times)


def linear_probes(
    linear: Callable[[Tensor, Tensor, Tensor | None], Tensor], x: Tensor, weight: Tensor, bias: Tensor | None
) -> Probes:
    """Probes of ``linear(x, weight, bias)``, x (R, …, n), weight (m, n) plain or laid out by oneDNN."""
    generator = _generator(x)
    pairs = Pairs.of(x.shape[-1], generator)
    own = _antisymmetric(weight, pairs, generator)
    own = onednn.linear_weight(own) if weight.is_mkldnn else own
    own_bias = _bias_like(bias, generator)
    while True:
        yield lambda x: linear(x, own, own_bias), (_symmetric(x, x.dim() - 1, pairs, generator),)


def convolution_probes(
    convolve: Callable[[Tensor, nn.Conv2d, Tensor | None], Tensor], x: Tensor, layer: nn.Conv2d, bias: Tensor | None
) -> Probes:
    """Probes of ``convolve(x, layer, bias)``, x (R, n, h, w), with a layer's weight plain or laid out by oneDNN.

    Channels are paired: their terms cancel for each pixel under the kernel, at the picture's margin too.
    """
    generator = _generator(x)
    pairs = Pairs.of(x.shape[1], generator)
    own = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        (layer.kernel_size[0], layer.kernel_size[1]),
        (layer.stride[0], layer.stride[1]),
        layer.padding if isinstance(layer.padding, str) else (layer.padding[0], layer.padding[1]),
        bias=False,
        device="meta",
    )
    own.weight = nn.Parameter(_antisymmetric(layer.weight, pairs, generator), requires_grad=False)
    if layer.weight.is_mkldnn:
        own.weight = nn.Parameter(onednn.convolution_weight(own), requires_grad=False)
    own_bias = _bias_like(bias, generator)
    while True:
        yield lambda x: convolve(x, own, own_bias), (_symmetric(x, 1, pairs, generator),)


def attention_probes(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], query: Tensor, key: Tensor, value: Tensor, heads: int
) -> Probes:
    """Probes of ``attend(query, key, value)`` with ``heads`` heads: (R, n, C), (R, m, C) and (R, m, C) → (R, n, C).

    Keys come in pairs of equal ones with opposite values, so that all sums of weighted values cancel. In every other
    probe the products of queries and keys cancel too, and what is left of them is large enough to decide the weights.
    """
    generator = _generator(query)
    tokens = Pairs.of(key.shape[1], generator)
    channels = Pairs.of(query.shape[2] // heads, generator).each(heads)
    fill = functools.partial(_filled, generator=generator)
    while True:
        for scores, low in ((True, _SCORES), (False, _ORDINARY)):
            keys = {1: tokens.even, 2: channels} if scores else {1: tokens.even}
            yield (
                attend,
                (
                    fill(query, {2: channels.even} if scores else {}, low, -2 * low if scores else -low),
                    fill(key, keys, _KEY if scores else 0.0, 1.0),
                    fill(value, {1: tokens}, _SMALLEST, _OCTAVES),
                ),
            )


def _generator(like: Tensor) -> torch.Generator:
    return torch.Generator(like.device).manual_seed(0)


def _symmetric(x: Tensor, dim: int, pairs: Pairs, generator: torch.Generator) -> Tensor:
    """Values like ``x``, spread over many octaves, the same for both places of a pair along ``dim``."""
    return _filled(x, {dim: pairs.even}, _SMALLEST, _OCTAVES, generator=generator)


def _antisymmetric(weight: Tensor, pairs: Pairs, generator: torch.Generator) -> Tensor:
    """A plain weight like ``weight``, (m, n, …), from 1 to 2 and −1 to −2, opposite for the places of a pair."""
    stride = None if weight.is_mkldnn else weight.stride()
    return _filled(weight, {1: pairs}, 0.0, 1.0, generator=generator, stride=stride)


def _bias_like(bias: Tensor | None, generator: torch.Generator) -> Tensor | None:
    return None if bias is None else torch.empty_like(bias).normal_(std=_BIAS, generator=generator)


def _filled(
    like: Tensor,
    pairs: Mapping[int, Pairs],
    low: float,
    octaves: float,
    *,
    generator: torch.Generator,
    stride: tuple[int, ...] | None = None,
) -> Tensor:
    """A tensor of the shape, dtype and strides of ``like``, of either sign, from 2^low to 2^(low + octaves) in size.

    Along each dimension in ``pairs`` the two places of a pair have the same size, times their signs.
    """
    stride = stride or (None if like.is_mkldnn else like.stride())
    device, shape = generator.device, like.shape
    out = torch.empty(shape, dtype=like.dtype, device=device)
    if stride is not None:
        out = torch.empty_strided(shape, stride, dtype=like.dtype, device=device)
    distinct = [pairs[dim].count if dim in pairs else size for dim, size in enumerate(shape)]
    rows = max(1, _VALUES_AT_ONCE // max(1, shape[1:].numel()))
    for part in out.split(rows):  # float32 values of all rows would take more memory than the operation does
        spread = torch.empty(part.shape[0], *distinct[1:], device=device)
        spread.uniform_(-octaves, octaves, generator=generator)
        values = spread.abs().add_(low).exp2_().copysign_(spread)
        for dim, paired in pairs.items():
            sign = paired.sign.view(-1, *[1] * (values.dim() - dim - 1))
            values = values.index_select(dim, paired.place).mul_(sign)
        part.copy_(values)
    return out
