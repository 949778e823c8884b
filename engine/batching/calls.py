"""Calls of one network: rows → what it makes of each, in calls of few sizes.

Owns the sizes of calls, exactness and out-of-memory splitting; knows nothing of samplers, guidance and evaluations.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.batching.rows import Row, filled_up, groups_of, in_pairs, inputs_of, paired_up, random_rows, units_of
from engine.batching.trials import Trials
from engine.device.memory import free_bytes, out_of_memory, release_cached
from engine.errors import OutOfMemory
from engine.networks.graphs import Launcher
from engine.networks.hints import Hints

_log = logging.getLogger(__name__)

_FLOATS_PER_CELL_AND_CHANNEL = 60
"""Peak memory of a call over (rows · latent cells · base channels), in elements; measured with the full-size UNet."""

_CALLS_BEFORE_GROWING = 100
"""After this many calls that went well, calls that ran out of memory before grow again."""


class NetworkFunction(Protocol):
    """What is called: the UNet, or a network beside it."""

    dtype: torch.dtype
    channels: int

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, /, *beside: Tensor) -> tuple[Tensor, ...]:
        """x (P, c, h, w), times (P,), conditioning (R, L, width), what is beside x (P, …) and beside the conditioning
        (R, …) → tensors (R, …); each x is that of R/P consecutive rows."""

    def pieces(self, rows: int) -> Mapping[int, int]: ...


class Calls:
    """The calls of one network. Not thread-safe: the device's thread owns it.

    ``sizes``, rising, are the numbers of rows that a call may have. In exact mode they are multiples of the first: a
    unit, whose rows are always computed together.
    """

    def __init__(
        self,
        network: NetworkFunction,
        *,
        exact: bool,
        sizes: Sequence[int],
        launcher: Launcher | None = None,
        hints: Hints | None = None,
        name: str = "UNet",
    ) -> None:
        """``name`` is the network's in log lines."""
        self._network = network
        self._name = name
        self._launcher = launcher or Launcher()
        self._graphs = self._launcher.graphs(network)
        self._hints = hints or Hints()
        self._exact = exact
        self._sizes = tuple(sizes)
        self._unit = self._sizes[0] if exact else 1
        self._limit = self._sizes[-1]
        self._good_calls = 0
        self._trials = Trials(self._unit)
        self._roomy: set[tuple[int, torch.Size]] = set()

    @property
    def form(self) -> str:
        """How calls are run: ``graph`` replays them, ``eager`` launches their operations one by one."""
        return self._graphs.form

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the network takes x."""
        return self._network.dtype

    @property
    def in_pairs(self) -> bool:
        """Whether two rows that have x in common may be computed as a pair."""
        return self._unit % 2 == 0 or not self._exact

    def peak_bytes(self, cells: int) -> int:
        """Return about what the smallest call for latents of ``cells`` cells takes beside the weights."""
        return self._peak_bytes(self._sizes[0] if self._exact else 2, cells)

    def _peak_bytes(self, rows: int, cells: int) -> int:
        return rows * cells * self._network.channels * _FLOATS_PER_CELL_AND_CHANNEL * self._network.dtype.itemsize

    def warm_up(self, rows: int, like: Row) -> None:
        """Make a call of ``rows`` rows like this one for nothing.

        A larger exact call is tried out first, and not made where it is not to be used. Does nothing where no call has
        that size, or memory does not suffice.
        """
        if rows not in (self._sizes[0], *self._larger_sizes(rows, like)) or not self._has_room(rows, like):
            return
        alike = self._trials.verdict(rows, like) if self._exact and rows > self._sizes[0] else True
        if alike is None:
            self._try(rows, like)
        elif alike:
            self._call(random_rows(like, rows), rows)

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row]) -> list[tuple[Tensor, ...]]:
        """Return what the network makes of each row, (1, …) each.

        In exact mode rows are computed in units of one owner's, each in a call of its own, or to the same bits as part
        of a larger one: in which ones the device does that is found by trial. In fast mode calls are as large as they
        can be. A call for which memory does not suffice is made again in smaller ones. Raises ``OutOfMemory`` when it
        may not be any smaller.
        """
        rows = paired_up(rows) if self.in_pairs else rows
        outputs: dict[int, tuple[Tensor, ...]] = {}
        for group in groups_of(rows, exact=self._exact):
            waiting, like = units_of(group, rows, self._unit), rows[group[0]]
            if self._exact:
                self._wish(len(waiting) * self._unit, like)
            while waiting:
                size = self._next_size(len(waiting) * self._unit, like)
                call = waiting[: max(1, size // self._unit)]
                part = self._call_or_shrink([rows[i] for unit in call for i in unit], size)
                if part is None:
                    continue
                each = zip(*(output.split(1) for output in part), strict=True)
                outputs |= zip(itertools.chain.from_iterable(call), each, strict=False)  # units' own padding aside
                waiting = waiting[len(call) :]
        return [outputs[i] for i in range(len(rows))]

    def close(self) -> None:
        """Give back what is held only to be fast."""
        self._launcher.drop(self._graphs)

    def _next_size(self, rows: int, like: Row) -> int:
        """The next call's size: the largest that is filled, since padding costs more than another call does."""
        smallest = self._sizes[0]
        for size in self._larger_sizes(math.ceil(rows / smallest) * smallest, like):
            if not self._exact or self._trials.verdict(size, like):
                return size
        return smallest

    def _larger_sizes(self, most: int, like: Row) -> list[int]:
        """The sizes up to ``most`` that memory allows, falling, without the smallest."""
        sizes = [size for size in reversed(self._sizes[1:]) if size <= min(most, self._limit)]
        return [size for size in sizes if self._has_room(size, like)]

    def _has_room(self, size: int, row: Row) -> bool:
        """Whether a call of ``size`` rows may be tried; from its second time on, running out of memory tells."""
        case = (size, row.x.shape)
        if row.x.device.type == "cpu" or case in self._roomy:
            return True
        if self._peak_bytes(size, row.x.shape[2] * row.x.shape[3]) > free_bytes(row.x.device):
            return False
        self._roomy.add(case)
        return True

    def _wish(self, rows: int, like: Row) -> None:
        """Larger calls would be of use for ``rows`` rows: try one out where that is due."""
        size = self._trials.wish(self._larger_sizes(rows, like), rows, like)
        if size is not None:
            self._try(size, like)

    def _try(self, size: int, like: Row) -> None:
        """Find out whether each unit in a call of ``size`` rows comes out as in a call of its own, to the bit."""
        self._launcher.tally.count += 1
        if not self._trials.settle(size, like, self._call):
            self._shrink(size, like.x.device)
            return
        alike, (height, width), length = self._trials.verdict(size, like), like.x.shape[2:], like.conditioning.shape[1]
        _log.info(
            "%s calls of %d rows, %d × %d cells, %d tokens: %s; operations by rows in a piece: %s",
            *(self._name, size, height, width, length, "used" if alike else "other bits, not used"),
            _shares(self._network.pieces(size)) or "not tried",
        )

    def _call(self, rows: Sequence[Row], size: int) -> tuple[Tensor, ...]:
        """Return the network's outputs for ``rows`` in a call of ``size`` rows, (rows, …); good until the next call."""
        return tuple(output[: len(rows)] for output in self._graphs(*inputs_of(rows, size)))

    def _call_or_shrink(self, rows: list[Row], size: int) -> tuple[Tensor, ...] | None:
        """Return the outputs for ``rows``, or None where they did not fit and later calls have fewer rows.

        The smallest call is made once more after all graphs' memory was given back.
        """
        outputs = self._call_if_it_fits(rows, size)
        if outputs is None:
            self._shrink(size, rows[0].x.device)
            if size > self._sizes[0]:
                return None
            outputs = self._call_if_it_fits(rows, size)
        if outputs is None:
            least = f"{size} rows, the least {'that exact batching makes' if self._exact else 'there is'}"
            raise OutOfMemory(f"the device's memory does not suffice for a {self._name} call of {least}")
        if self.form == "graph" and not (rows[0].beside_x or rows[0].beside_conditioning):
            (height, width), length = rows[0].x.shape[2:], math.lcm(*(row.conditioning.shape[1] for row in rows))
            latents = size // 2 if in_pairs(filled_up(rows, size)) else size
            self._hints.note_shape((size, latents, height, width, length))
        self._good_calls += 1
        if self._limit < self._sizes[-1] and self._good_calls >= _CALLS_BEFORE_GROWING:
            self._limit, self._good_calls = min(self._limit * 2, self._sizes[-1]), 0
        return outputs

    def _call_if_it_fits(self, rows: list[Row], size: int) -> tuple[Tensor, ...] | None:
        try:
            return tuple(output.clone() for output in self._call(rows, size))
        except Exception as error:
            if not out_of_memory(error):
                raise
            _log.warning("no memory for a %s call of %d rows: %s", self._name, size, error)
            return None  # the error's traceback would keep the tensors alive

    def _shrink(self, size: int, device: torch.device) -> None:
        """A call of ``size`` rows did not fit: give back what is held only to be fast, and make smaller ones."""
        self._limit, self._good_calls = (size + 1) // 2, 0
        self._launcher.release()
        release_cached(device)


def _shares(pieces: Mapping[int, int]) -> str:
    return ", ".join(f"{size}: {count / sum(pieces.values()):.0%}" for size, count in sorted(pieces.items()))
