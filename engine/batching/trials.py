"""Which larger UNet calls give each unit of rows the bits of a call of its own.

The proof lies in the operations: each is probed for any other order of its sums before its rows share a call
(``engine.networks.probes``). A trial of the whole call confirms what lies around them: fused kernels, graphs, and the
way in which rows are put together. Knows no network: it is handed the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from engine.batching.rows import Row, random_rows
from engine.device.memory import out_of_memory
from engine.networks.pieces import same_bits

_WISHES_BEFORE_TRYING = 16
"""A size is tried once it would have been of use this often: the trial takes as long as some steps."""

_COMPARED, _MOST_CALLS = 1 << 16, 8
"""Values of the output that a trial compares, in this many calls at most: those of small pictures are few."""

_Case: TypeAlias = tuple[int, Hashable, torch.Size, bool]


class Trials:
    """What is known of each size of call, for latents and conditionings of each shape."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._alike: dict[_Case, bool] = {}
        self._wishes: Counter[_Case] = Counter()

    def verdict(self, size: int, like: Row) -> bool | None:
        """Return whether calls of ``size`` rows like this one may be made; None where that was not tried."""
        return self._alike.get(_case(size, like))

    def wish(self, sizes: Sequence[int], rows: int, like: Row) -> int | None:
        """Return the one of ``sizes`` whose trial is due, if any, where ``rows`` rows like this one are to be computed.

        ``sizes`` fall, and may all be tried. Only the largest one that is not settled counts as wished for, since the
        smaller ones are not needed where it can be used.
        """
        for size in sizes:
            verdict = self.verdict(size, like)
            if verdict is None and size <= rows:
                self._wishes[_case(size, like)] += 1
                return size if self._wishes[_case(size, like)] >= _WISHES_BEFORE_TRYING else None
            if verdict:
                rows %= size
        return None

    def settle(self, size: int, like: Row, call: Callable[[list[Row], int], tuple[Tensor, ...]]) -> bool:
        """Try ``size``; False where memory ran out, so that it is to be tried another time."""
        calls = min(_MOST_CALLS, -(-_COMPARED // (size * like.x.numel())))
        try:
            alike = all(self._gives_equal_bits(random_rows(like, size, seed), call) for seed in range(calls))
        except Exception as error:
            if not out_of_memory(error):
                raise
            del self._wishes[_case(size, like)]
            return False
        self._alike[_case(size, like)] = alike
        return True

    def _gives_equal_bits(self, rows: list[Row], call: Callable[[list[Row], int], tuple[Tensor, ...]]) -> bool:
        """Whether one call of all ``rows`` gives each unit of them what a call of its own gives."""
        whole = [output.clone() for output in call(rows, len(rows))]
        for i in range(0, len(rows), self._unit):
            own = slice(i, i + self._unit)
            if not all(map(same_bits, call(rows[own], self._unit), [output[own].contiguous() for output in whole])):
                return False
        return True


def _case(size: int, like: Row) -> _Case:
    return size, like.kind, like.conditioning.shape, like.paired
