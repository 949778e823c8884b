"""A batch of evaluations → their predictions: the only place that calls the UNet.

Owns the shapes of UNet calls and out-of-memory splitting; knows nothing of samplers, guidance, requests and ticks.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.batching.rows import (
    Row,
    filled_up,
    groups_of,
    in_pairs,
    inputs_of,
    may_share,
    random_rows,
    repeated,
    units_of,
)
from engine.batching.trials import Trials
from engine.device.memory import free_bytes, out_of_memory, release_cached
from engine.errors import OutOfMemory
from engine.networks.graphs import Launcher
from engine.networks.hints import Hints
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.sampling.levels import STABLE_DIFFUSION_1

_log = logging.getLogger(__name__)

_FLOATS_PER_CELL_AND_CHANNEL = 60
"""Peak memory of a call over (rows · latent cells · base channels), in elements; measured with the full-size UNet."""

_CALLS_BEFORE_GROWING = 100
"""After running out of memory, calls grow again after so many that went well."""


class UnetFunction(Protocol):
    """What the denoiser needs of a UNet; ``engine.networks.unet.Unet`` is the real one."""

    dtype: torch.dtype
    channels: int

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, /) -> Tensor:
        """x (P, 4, h, w), times (P,), conditioning (R, L, width) → (R, 4, h, w); each x is R/P consecutive rows'."""

    def pieces(self, rows: int) -> Mapping[int, int]: ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a trajectory asks to be predicted: one x, with each of its branches' conditioning."""

    x: Tensor
    """Noisy latents in sigma scale, float32 (B, 4, h, w) on the device."""

    sigma: Tensor
    """Noise level of ``x``, float32 () on the CPU, above 0."""

    branches: tuple[Tensor, ...]
    """What each prediction is conditioned on, (1, 77·n, width) on the device."""

    @property
    def rows(self) -> int:
        """Rows of UNet calls that this takes."""
        return self.x.shape[0] * len(self.branches)


class Denoiser:
    """One checkpoint's UNet. Not thread-safe: the device's thread owns it.

    ``sizes``, rising, are the numbers of rows that a call may have. In exact mode they are multiples of the first.
    """

    def __init__(
        self,
        unet: UnetFunction,
        *,
        exact: bool,
        sizes: Sequence[int],
        launcher: Launcher | None = None,
        hints: Hints | None = None,
    ) -> None:
        self._unet = unet
        self._launcher = launcher or Launcher()
        self._graphs = self._launcher.graphs(lambda *inputs: (unet(*inputs).float(),))
        self._hints = hints or Hints()
        self._exact = exact
        self._sizes = tuple(sizes)
        self._unit = self._sizes[0] if exact else 1
        """Rows that are always computed together."""
        self._limit = self._sizes[-1]
        self._good_calls = 0
        self._trials = Trials(self._unit)
        self._roomy: set[tuple[int, torch.Size]] = set()

    @property
    def form(self) -> str:
        """How calls are run: ``graph`` replays them, ``eager`` launches their operations one by one."""
        return self._graphs.form

    def peak_bytes(self, width: int, height: int) -> int:
        """About what one UNet call for pictures of ``width`` × ``height`` pixels takes beside the weights."""
        cells = (width // PIXELS_PER_CELL) * (height // PIXELS_PER_CELL)
        return self._peak_bytes(self._sizes[0] if self._exact else 2, cells)

    def _peak_bytes(self, rows: int, cells: int) -> int:
        return rows * cells * self._unet.channels * _FLOATS_PER_CELL_AND_CHANNEL * self._unet.dtype.itemsize

    def pictures_at_once(self, branches: int) -> int:
        """How many pictures of a batch with so many branches fit into one UNet call."""
        return max(1, self._sizes[-1] // branches)

    def with_common_length(self, branches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """``branches`` as evaluations take them: repeated to a common length where that is not much longer."""
        lengths = [conditioning.shape[1] for conditioning in branches]
        if not may_share(lengths):
            return branches
        return tuple(repeated(conditioning, math.lcm(*lengths)) for conditioning in branches)

    def group(self, evaluation: Evaluation) -> Hashable:
        """Evaluations of equal group may be handed to ``predict`` together."""
        lengths = {conditioning.shape[1] for conditioning in evaluation.branches} if self._exact else set()
        return (id(self), evaluation.x.shape[2:], frozenset(lengths))

    @torch.inference_mode()
    def predict(self, evaluations: Sequence[Evaluation]) -> list[tuple[Tensor, ...]]:
        """Each branch's eps for each evaluation, float32 (B, 4, h, w), all of one latent shape.

        The UNet's input is x / √(1 + σ²) (Karras et al. 2022, table 1, VE in VP form).

        In exact mode an evaluation's branches have the same length whatever is beside them, and its rows, in units of
        the smallest size, are computed in a call of that size, or to the same bits as part of a larger one: in which
        ones the device does that is found by trial. So the result does not depend on the other evaluations, to the
        bit. In fast mode calls are as large as they can be.

        A call for which memory does not suffice is made again in smaller ones. Raises ``OutOfMemory`` when it may not
        be any smaller.
        """
        rows = [list(self._evaluation_rows(evaluation, owner)) for owner, evaluation in enumerate(evaluations)]
        eps = iter(self._eps(list(itertools.chain.from_iterable(rows))))
        self._hints.save_when_due()
        return [
            _by_branch(len(evaluation.branches), list(itertools.islice(eps, len(own))))
            for evaluation, own in zip(evaluations, rows, strict=True)
        ]

    @torch.inference_mode()
    def warm_up(self, rows: int, x: Tensor, conditioning: Tensor, *, paired: bool) -> None:
        """Make a call of ``rows`` rows of such x (1, 4, h, w) and conditioning (1, 77·n, width) for nothing.

        ``paired``: as for pictures with guidance, whose two rows have x in common. A larger exact call is tried out
        first, and not made where it is not to be used. Does nothing where no call has that size, or memory does not
        suffice.
        """
        like = Row(0, x.to(self._unet.dtype), 0.0, conditioning, paired)
        if rows not in (self._sizes[0], *self._larger_sizes(rows, like)) or not self._has_room(rows, like):
            return
        alike = self._trials.verdict(rows, like) if self._exact and rows > self._sizes[0] else True
        if alike is None:
            self._try(rows, like)
        elif alike:
            self._call(random_rows(like, rows), rows)

    def _evaluation_rows(self, evaluation: Evaluation, owner: int) -> Iterator[Row]:
        """Picture by picture a row for each branch. Two branches of one length have x in common, as a pair."""
        scaled = (evaluation.x / torch.sqrt(1 + evaluation.sigma**2)).to(self._unet.dtype)
        time = STABLE_DIFFUSION_1.timestep(evaluation.sigma)
        branches = evaluation.branches
        together = len(branches) == 2 and branches[0].shape == branches[1].shape
        paired = together and (self._unit % 2 == 0 or not self._exact)
        for x in scaled.split(1):
            for conditioning in branches:
                yield Row(owner, x, time, conditioning, paired)

    def _eps(self, rows: list[Row]) -> list[Tensor]:
        """The UNet's output for each row, float32 (1, 4, h, w)."""
        eps: dict[int, Tensor] = {}
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
                eps |= zip(itertools.chain.from_iterable(call), part.split(1), strict=False)  # units' own padding aside
                waiting = waiting[len(call) :]
        return [eps[i] for i in range(len(rows))]

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
        """Whether a call of so many rows may be tried; once it was, running out of memory tells."""
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
            "UNet calls of %d rows, %d × %d cells, %d tokens: %s; operations by rows in a piece: %s",
            *(size, height, width, length, "used" if alike else "other bits, not used"),
            _shares(self._unet.pieces(size)) or "not tried",
        )

    def _call(self, rows: Sequence[Row], size: int) -> Tensor:
        """The UNet's output for ``rows`` in a call of ``size`` rows, float32 (rows, 4, h, w); good until the next."""
        (eps,) = self._graphs(*inputs_of(rows, size))
        return eps[: len(rows)]

    def _call_or_shrink(self, rows: list[Row], size: int) -> Tensor | None:
        """The UNet's output for ``rows``, or None where it did not fit and later calls have fewer rows.

        The smallest call is made once more after all graphs' memory was given back.
        """
        eps = self._call_if_it_fits(rows, size)
        if eps is None:
            self._shrink(size, rows[0].x.device)
            if size > self._sizes[0]:
                return None
            eps = self._call_if_it_fits(rows, size)
        if eps is None:
            least = f"{size} rows, the least {'that exact batching makes' if self._exact else 'there is'}"
            raise OutOfMemory(f"the device's memory does not suffice for a UNet call of {least}")
        if self.form == "graph":
            (height, width), length = rows[0].x.shape[2:], math.lcm(*(row.conditioning.shape[1] for row in rows))
            latents = size // 2 if in_pairs(filled_up(rows, size)) else size
            self._hints.note_shape((size, latents, height, width, length))
        self._good_calls += 1
        if self._limit < self._sizes[-1] and self._good_calls >= _CALLS_BEFORE_GROWING:
            self._limit, self._good_calls = min(self._limit * 2, self._sizes[-1]), 0
        return eps

    def _call_if_it_fits(self, rows: list[Row], size: int) -> Tensor | None:
        try:
            return self._call(rows, size).clone()
        except Exception as error:
            if not out_of_memory(error):
                raise
            _log.warning("no memory for a UNet call of %d rows: %s", size, error)
            return None  # the error's traceback would keep the tensors alive

    def _shrink(self, size: int, device: torch.device) -> None:
        """A call of ``size`` rows did not fit: give back what is held only to be fast, and make smaller ones."""
        self._limit, self._good_calls = (size + 1) // 2, 0
        self._launcher.release()
        release_cached(device)


def _shares(pieces: Mapping[int, int]) -> str:
    return ", ".join(f"{size}: {count / sum(pieces.values()):.0%}" for size, count in sorted(pieces.items()))


def _by_branch(count: int, eps: list[Tensor]) -> tuple[Tensor, ...]:
    """Rows in the order of ``_evaluation_rows`` → (B, 4, h, w) for each of ``count`` branches."""
    return tuple(torch.cat(eps[branch::count]) if len(eps) > count else eps[branch] for branch in range(count))
