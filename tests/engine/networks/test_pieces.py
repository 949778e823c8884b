"""Pieces: as large as the bits allow, the unit's bits from the first call on, wherever their rows lie in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.networks.hints import Hints
from engine.networks.pieces import Pieces, in_pieces, same_bits


@pytest.mark.parametrize(("alike", "found"), [(1, 2), (2, 2), (4, 4), (8, 8), (16, 16)])
def test_pieces_are_as_large_as_they_can_be(alike: int, found: int) -> None:
    def operation(x: Tensor) -> Tensor:
        return x + (0 if len(x) <= max(2, alike) else len(x))

    x, pieces = torch.randn(16, 3), Pieces(Hints())
    for _ in range(2):
        assert torch.equal(pieces.compute("test", 2, operation, (x,), lambda: itertools.repeat((operation, (x,)))), x)
    assert list(pieces.sizes.values()) == [found]
    assert list(pieces.of(16, 2).values()) == [found]
    assert not pieces.of(8, 2)
    assert not pieces.of(16, 1)


def test_a_difference_that_only_a_probe_shows_is_found() -> None:
    def rounding(x: Tensor) -> Tensor:
        return (x + (0.0 if len(x) <= 4 else 1e-6)).bfloat16()

    x, pieces = torch.ones(16, 3), Pieces(Hints())
    pieces.compute("test", 2, rounding, (x,), lambda: itertools.repeat((rounding, (x,))))
    pieces.compute("probed", 2, rounding, (x,), lambda: itertools.repeat((rounding, (x * 0,))))
    assert list(pieces.sizes.values()) == [16, 4]


def test_shapes_and_strides_are_cases_of_their_own() -> None:
    pieces = Pieces(Hints())

    def probes() -> itertools.repeat[tuple[Callable[..., Tensor], tuple[Tensor, ...]]]:
        return itertools.repeat((torch.clone, (torch.zeros(4, 2, 2),)))

    for x in (torch.zeros(4, 2, 2), torch.zeros(4, 2, 2).mT, torch.zeros(8, 2, 2), torch.zeros(4, 2, 6)[..., :2]):
        pieces.compute("test", 2, torch.clone, (x,), probes)
    assert len(pieces.sizes) == 4


def test_pieces_lie_in_memory_as_calls_of_their_own_do() -> None:
    places = []

    def operation(x: Tensor) -> Tensor:
        places.append(x.data_ptr() % 64)
        return x * 2

    x = torch.randn(6, 5, 3)[:, :, 1:]
    assert torch.equal(in_pieces(operation, (x,), 2), x * 2)
    assert torch.equal(in_pieces(operation, (x,), 8), x * 2)
    assert places == [0] * 4


def test_bits_are_compared_rather_than_values() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        zero, nan = torch.zeros(2, 3, dtype=dtype), torch.full((2, 3), torch.nan, dtype=dtype)
        assert not same_bits(zero, -zero)
        assert same_bits(nan, nan.clone())
        assert not same_bits(zero, zero[:1])
        assert same_bits(zero.mT, zero.mT.contiguous())
    assert not same_bits(torch.zeros(1), torch.zeros(1, dtype=torch.int32))
