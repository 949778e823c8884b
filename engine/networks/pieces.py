"""Rows computed in the largest pieces that give each row the bits of the smallest call.

Kernels of matrix products, convolutions and attention are chosen by the whole shape, and may add up in another order
where there are more rows. Knows an operation only as a function of its rows, and no layer and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

import torch
from torch import Tensor

from engine.networks.hints import Hints

Operation: TypeAlias = Callable[..., Tensor]
Inputs: TypeAlias = tuple[Tensor, ...]
Probes: TypeAlias = Iterator[tuple[Operation, Inputs]]
"""Operations that run on the kernels of another one, each with inputs that make its result all rounding."""

_FEWEST_PROBES, _MOST_PROBES = 3, 8
_COMPARED = 1 << 19
"""A piece's size is probed until this many values were compared, within these limits: small results show less."""

_MOST_CASES = 20_000
"""Shapes of operations that are remembered, far more than the picture sizes in use need."""

_ALIGNMENT = 64
"""Bytes. Torch's own allocations lie on multiples of it; a kernel may treat data that does not differently."""

_SAME_SIZE_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Pieces:
    """The sizes of pieces that were found for each case: an operation's kind, its unit of rows, its inputs' shapes."""

    def __init__(self, hints: Hints) -> None:
        """``hints`` say where the search for a size begins; what they say is probed like any other size."""
        self._hints = hints
        self.sizes: dict[tuple[Any, ...], int] = {}
        """Rows that each case is given at a time."""

    def compute(
        self, kind: Any, unit: int, operation: Operation, inputs: Inputs, probes: Callable[[], Probes]
    ) -> Tensor:
        """``operation`` of ``inputs``, whose rows get the bits that they have in a call of ``unit`` rows.

        ``kind`` names what the operation's kernels depend on beside its inputs' shapes and strides, in JSON's values.
        """
        rows = inputs[0].shape[0]
        if rows <= unit:
            return in_pieces(operation, inputs, unit)
        case = (kind, unit, *((*given.shape, *given.stride()) for given in inputs))
        size = self.sizes.get(case)
        if size is not None:
            return in_pieces(operation, inputs, size)
        if len(self.sizes) >= _MOST_CASES:
            self.sizes.clear()
        hint = self._hints.piece(case) or rows
        by_unit = in_pieces(operation, inputs, unit)
        first = rows if hint % unit else min(hint, rows)
        size = _shrunk(first, unit, operation, inputs, by_unit)
        compared = max(1, by_unit.numel())
        for probe, probing in islice(probes(), max(_FEWEST_PROBES, min(_MOST_PROBES, _COMPARED // compared))):
            if size == unit:
                break
            size = _shrunk(size, unit, probe, probing, in_pieces(probe, probing, unit))
        self.sizes[case] = size
        self._hints.note_piece(case, size)
        return by_unit

    def of(self, rows: int, unit: int) -> dict[tuple[Any, ...], int]:
        """How many rows at a time each operation on ``rows`` rows, in units of ``unit``, is given."""
        return {case: size for case, size in self.sizes.items() if case[1] == unit and case[2][0] == rows}


def in_pieces(operation: Operation, inputs: Inputs, size: int) -> Tensor:
    """``operation`` of ``inputs``, at most ``size`` rows at a time.

    A piece that lies otherwise in memory than a call of its own would is copied first.
    """
    if inputs[0].shape[0] <= size:
        return operation(*map(_aligned, inputs))
    pieces = zip(*(given.split(size) for given in inputs), strict=True)
    return torch.cat([operation(*map(_aligned, piece)) for piece in pieces])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same bits; 0 and −0 differ, and a NaN equals itself."""
    integers = _SAME_SIZE_INTEGERS[one.dtype.itemsize]
    return one.dtype == other.dtype and torch.equal(one.view(integers), other.view(integers))


def _shrunk(size: int, unit: int, operation: Operation, inputs: Inputs, by_unit: Tensor) -> int:
    """The largest size, by halving ``size`` down to ``unit``, whose pieces give the bits of ``by_unit``."""
    while size > unit and not same_bits(in_pieces(operation, inputs, size), by_unit):
        size = max(unit, size // 2 // unit * unit)
    return size


def _aligned(x: Tensor) -> Tensor:
    if x.data_ptr() % _ALIGNMENT == 0:
        return x
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).copy_(x)
