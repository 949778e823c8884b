"""Which larger UNet calls give each unit of rows the bits of a call of its own: found out by trial.

Kernels are chosen by the whole shape; whether they add up alike follows from the shape alone, and is tried out once
for each. Knows no network: it is handed the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from engine.batching.rows import Row, random_rows
from engine.device.memory import out_of_memory

_WISHES_BEFORE_TRYING = 16
"""A size is tried out once it would have been of use so often: the trial takes as long as some steps."""

_Case: TypeAlias = tuple[int, torch.Size, torch.Size, bool]


class Trials:
    """What is known of each size of call, for latents and conditionings of each shape."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._alike: dict[_Case, bool] = {}
        self._wishes: Counter[_Case] = Counter()

    def verdict(self, size: int, like: Row) -> bool | None:
        """Whether calls of ``size`` rows like this one may be made; None where that was not tried."""
        return self._alike.get(_case(size, like))

    def wish(self, sizes: Sequence[int], rows: int, like: Row) -> int | None:
        """``rows`` rows are to be computed, and ``sizes``, falling, may be tried: the one whose trial is due, if any.

        Only the largest size that is not settled is wished for, lest smaller ones be tried in vain.
        """
        for size in sizes:
            verdict = self.verdict(size, like)
            if verdict is None and size <= rows:
                self._wishes[_case(size, like)] += 1
                return size if self._wishes[_case(size, like)] >= _WISHES_BEFORE_TRYING else None
            if verdict:
                rows %= size
        return None

    def settle(self, size: int, like: Row, call: Callable[[list[Row], int], Tensor]) -> bool:
        """Try ``size`` out; False where memory ran out, so that it is to be tried another time."""
        probes = random_rows(like, size)
        try:
            whole = call(probes, size).clone()
            self._alike[_case(size, like)] = all(
                torch.equal(call(probes[i : i + self._unit], self._unit), whole[i : i + self._unit])
                for i in range(0, size, self._unit)
            )
        except Exception as error:
            if not out_of_memory(error):
                raise
            del self._wishes[_case(size, like)]
            return False
        return True


def _case(size: int, like: Row) -> _Case:
    return size, like.x.shape, like.conditioning.shape, like.paired
