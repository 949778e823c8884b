"""The rows of network calls: which may share one, in which units, and what the network is given for them.

Knows no network, and nothing of guidance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.device.transfer import to_device

_MOST_REPEATS = 4
"""A conditioning is repeated at most this often to share a UNet call with a longer one."""


@dataclass(frozen=True)
class Row:
    """One row of a network call: a picture of an evaluation, with one of its conditionings."""

    owner: int  # the evaluation's number in the batch
    x: Tensor  # (1, c, h, w) in the network's dtype, scaled
    time: float  # 0 … 999
    conditioning: Tensor  # (1, L, width)
    paired: bool = False  # whether it is one of two that have x, time and what is beside x in common: see paired_up
    beside_x: tuple[Tensor, ...] = ()  # (1, …) each: further inputs of the network that belong to x
    beside_conditioning: tuple[Tensor, ...] = ()  # (1, …) each: further inputs of the row's own

    @property
    def kind(self) -> Hashable:
        """What rows of one call have in common, the length of their conditioning aside."""
        return (self.x.shape, *(each.shape for each in (*self.beside_x, *self.beside_conditioning)))

    @property
    def shared(self) -> Hashable:
        """What the rows of a pair have in common."""
        inputs = (id(self.x), *(each.data_ptr() for each in self.beside_x))
        return self.owner, self.time, inputs, self.kind, self.conditioning.shape[1]


def paired_up(rows: Sequence[Row]) -> list[Row]:
    """Return ``rows``, of which every two that have all but their conditioning in common are paired; of an odd number
    the last one is not."""
    alike: dict[Hashable, list[int]] = {}
    for i, row in enumerate(rows):
        alike.setdefault(row.shared, []).append(i)
    paired = {i for same in alike.values() for i in same[: len(same) // 2 * 2]}
    return [replace(row, paired=i in paired) for i, row in enumerate(rows)]


def groups_of(rows: Sequence[Row], *, exact: bool) -> list[list[int]]:
    """Return the rows' numbers, in groups that may share calls, those of a pair next to each other.

    In exact mode a group has one conditioning length, and all of its rows are paired or none; in fast mode it has those
    whose lengths have a small common multiple.
    """
    first: dict[Hashable, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row.shared, i)
    alike: dict[Hashable, list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: (not rows[i].paired, first[rows[i].shared])):
        row = rows[i]
        length = (row.conditioning.shape[1], row.paired) if exact else None
        alike.setdefault((row.kind, len(row.beside_x), length), []).append(i)
    groups = sorted(alike.values(), key=min)
    return groups if exact else [part for group in groups for part in _by_length(group, rows)]


def _by_length(group: Sequence[int], rows: Sequence[Row]) -> list[list[int]]:
    """``group`` in parts whose conditionings are repeated to a common length."""
    lengths = {i: rows[i].conditioning.shape[1] for i in group}
    parts: list[list[int]] = []
    for i in sorted(group, key=lengths.__getitem__):
        if parts and may_share({lengths[j] for j in [*parts[-1], i]}):
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


def units_of(group: Sequence[int], rows: Sequence[Row], unit: int) -> list[list[int]]:
    """Return ``group`` in units of one owner's rows; a short unit is filled up with its first row."""
    units: list[list[int]] = []
    for _, own in itertools.groupby(group, key=lambda i: rows[i].owner):
        queue = list(own)
        units += [queue[k : k + unit] for k in range(0, len(queue), unit)]
    return [some + some[:1] * (unit - len(some)) for some in units]


def inputs_of(rows: Sequence[Row], size: int) -> tuple[Tensor, ...]:
    """Return the x (P, c, h, w), times (P,) float32, conditioning (size, L, width) and what is beside them, of a call.

    The first row fills missing ones up. P is half of ``size`` where all rows are in pairs, else ``size``.
    """
    padded = filled_up(rows, size)
    length = math.lcm(*(row.conditioning.shape[1] for row in rows))
    distinct = padded[::2] if in_pairs(padded) else padded
    x = torch.cat([row.x for row in distinct])
    times = to_device(torch.tensor([row.time for row in distinct], dtype=torch.float32), x.device)
    context = torch.cat([repeated(row.conditioning, length) for row in padded]).to(x.dtype)
    beside_x = [torch.cat(each) for each in zip(*(row.beside_x for row in distinct), strict=True)]
    beside = [torch.cat(each) for each in zip(*(row.beside_conditioning for row in padded), strict=True)]
    return x, times, context, *beside_x, *beside


def filled_up(rows: Sequence[Row], size: int) -> list[Row]:
    """Return ``rows`` and, up to ``size`` rows, the first again."""
    return [*rows, *[rows[0]] * (size - len(rows))]


def in_pairs(rows: Sequence[Row]) -> bool:
    """Return whether every two rows are a pair, none of which was taken apart."""
    couples = itertools.zip_longest(rows[::2], rows[1::2])
    return all(other is not None and row.paired and row.x is other.x for row, other in couples)


def random_rows(like: Row, count: int, seed: int = 0) -> list[Row]:
    """Return ``count`` different rows, or pairs of rows, like this one, with random values that depend on ``seed``
    alone."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(tensor: Tensor) -> Tensor:
        """Random values, laid out in memory as ``tensor`` is; whole numbers, which may be places, stay as they are."""
        if not tensor.is_floating_point():
            return tensor
        return torch.empty_like(tensor).copy_(torch.randn(tensor.shape, generator=generator))

    rows: list[Row] = []
    for place in range(count):
        conditioning = drawn(like.conditioning)
        beside = tuple(map(drawn, like.beside_conditioning))
        if like.paired and place % 2:
            rows.append(replace(rows[-1], conditioning=conditioning, beside_conditioning=beside))
        else:
            x, beside_x = drawn(like.x), tuple(map(drawn, like.beside_x))
            row = replace(like, x=x, time=999.0 * place / count, conditioning=conditioning)
            rows.append(replace(row, beside_x=beside_x, beside_conditioning=beside))
    return rows


def may_share(lengths: Collection[int]) -> bool:
    """Return whether conditionings of these lengths are repeated to a common one."""
    return math.lcm(*lengths) <= _MOST_REPEATS * min(lengths)


def repeated(conditioning: Tensor, length: int) -> Tensor:
    """Return ``conditioning`` repeated along its tokens to ``length``: attention to it is the same, up to rounding."""
    return conditioning.repeat(1, length // conditioning.shape[1], 1)
