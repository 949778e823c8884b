"""A batch of evaluations → their denoised predictions: the only place that calls the UNet.

Owns guidance, the shapes of UNet calls and out-of-memory splitting; knows nothing of samplers, requests and ticks.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import OutOfMemory
from engine.memory import free_bytes, out_of_memory, release_cached
from engine.networks.graphs import Graphs, Recorder
from engine.schedules import timestep
from engine.transfer import to_device
from engine.vae import PIXELS_PER_CELL

_MOST_REPEATS = 4
"""A conditioning is repeated at most so often to share a UNet call with a longer one."""

_FLOATS_PER_CELL_AND_CHANNEL = 60
"""Peak memory of a call over (rows · latent cells · base channels), in elements; measured with the full-size UNet."""

_CALLS_BEFORE_GROWING = 100
"""After running out of memory, calls grow again after so many that went well."""

_WISHES_BEFORE_TRYING = 16
"""A larger exact call is tried out once it would have been of use so often: the trial takes as long as some steps."""


class UnetFunction(Protocol):
    """What the denoiser needs of a UNet; ``engine.networks.unet.Unet`` is the real one."""

    dtype: torch.dtype
    channels: int

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One denoised prediction that a trajectory asks for."""

    x: Tensor
    """Noisy latents in sigma scale, float32 (B, 4, h, w) on the device."""

    sigma: Tensor
    """Noise level of ``x``, float32 () on the CPU, above 0."""

    conditioning: Tensor
    """(1, 77·n, width) on the device."""

    negative_conditioning: Tensor
    """(1, 77·m, width) on the device; not used where ``cfg_scale`` is 1."""

    cfg_scale: float
    """Guidance scale; 1 means no guidance."""

    @property
    def rows(self) -> int:
        """Rows of UNet calls that this takes."""
        return self.x.shape[0] * (1 if self.cfg_scale == 1 else 2)


@dataclass(frozen=True)
class _Row:
    """One row of a UNet call: a picture of an evaluation, with one of its two conditionings."""

    owner: int  # the evaluation's number in the batch
    x: Tensor  # (1, 4, h, w) in the UNet's dtype, scaled
    time: float
    conditioning: Tensor  # (1, L, width)


class Denoiser:
    """One checkpoint's UNet. Not thread-safe: the device's thread owns it.

    ``sizes``, rising, are the numbers of rows that a call may have. In exact mode they are multiples of the first.
    """

    def __init__(
        self, unet: UnetFunction, *, exact: bool, sizes: Sequence[int], recorder: Recorder | None = None
    ) -> None:
        self._unet = unet
        self._graphs = Graphs(lambda *inputs: (unet(*inputs).float(),), recorder)
        self._exact = exact
        self._sizes = tuple(sizes)
        self._limit = self._sizes[-1]
        self._good_calls = 0
        self._alike: dict[tuple[int, torch.Size, torch.Size], bool] = {}
        self._wishes: Counter[tuple[int, torch.Size, torch.Size]] = Counter()
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

    def pictures_at_once(self, cfg_scale: float) -> int:
        """How many pictures of a batch fit into one UNet call."""
        return max(1, self._sizes[-1] // (1 if cfg_scale == 1 else 2))

    def group(self, evaluation: Evaluation) -> Hashable:
        """Evaluations of equal group may be handed to ``denoise`` together."""
        lengths = {conditioning.shape[1] for conditioning in _conditionings(evaluation)} if self._exact else set()
        return (id(self), evaluation.x.shape[2:], frozenset(lengths))

    @torch.inference_mode()
    def denoise(self, evaluations: Sequence[Evaluation]) -> list[Tensor]:
        """The denoised prediction for each evaluation, float32 (B, 4, h, w), all of one latent shape.

        denoised = x − σ·eps, with eps = uncond + cfg_scale·(cond − uncond) (Ho & Salimans 2022, eq. 6), on the UNet's
        input x / √(1 + σ²) (Karras et al. 2022, table 1, VE in VP form).

        In exact mode an evaluation's conditionings have the same length whatever is beside them, and its rows, in
        units of the smallest size, are computed in a call of that size, or to the same bits as part of a larger one:
        in which ones the device does that, is tried out. So the result does not depend on the other evaluations, to
        the bit. In fast mode calls are as large as they can be.

        A call for which memory does not suffice is made again in smaller ones. Raises ``OutOfMemory`` when it may not
        be any smaller.
        """
        rows = [list(self._evaluation_rows(evaluation, owner)) for owner, evaluation in enumerate(evaluations)]
        eps = iter(self._eps(list(itertools.chain.from_iterable(rows))))
        return [
            _guided(evaluation, list(itertools.islice(eps, len(own))))
            for evaluation, own in zip(evaluations, rows, strict=True)
        ]

    def _evaluation_rows(self, evaluation: Evaluation, owner: int) -> Iterator[_Row]:
        """Picture by picture the conditional row, then the unconditional one where guidance needs it."""
        scaled = (evaluation.x / torch.sqrt(1 + evaluation.sigma**2)).to(self._unet.dtype)
        time = timestep(evaluation.sigma)
        conditionings = _conditionings(evaluation)
        for x in scaled.split(1):
            for conditioning in conditionings:
                yield _Row(owner, x, time, conditioning)

    def _eps(self, rows: list[_Row]) -> list[Tensor]:
        """The UNet's output for each row, float32 (1, 4, h, w)."""
        eps: dict[int, Tensor] = {}
        for group in self._groups(rows):
            waiting = self._units(group, rows)
            while waiting:
                size = self._next_size(waiting, rows[group[0]])
                call = waiting[: max(1, size // self._unit)]
                part = self._call_or_shrink([rows[i] for unit in call for i in unit], size)
                if part is None:
                    self._graphs.clear()
                    release_cached(rows[0].x.device)
                    continue
                eps |= zip(itertools.chain.from_iterable(call), part.split(1), strict=False)  # units' own padding aside
                waiting = waiting[len(call) :]
        return [eps[i] for i in range(len(rows))]

    @property
    def _unit(self) -> int:
        """Rows that are always computed together."""
        return self._sizes[0] if self._exact else 1

    def _units(self, group: list[int], rows: list[_Row]) -> list[list[int]]:
        """``group`` in units of one owner's rows, a short one filled up with its first row."""
        units: list[list[int]] = []
        for _, own in itertools.groupby(group, key=lambda i: rows[i].owner):
            queue = list(own)
            units += [queue[k : k + self._unit] for k in range(0, len(queue), self._unit)]
        return [unit + unit[:1] * (self._unit - len(unit)) for unit in units]

    def _groups(self, rows: list[_Row]) -> list[list[int]]:
        """Which rows may share calls: those of one length in exact mode, in fast mode whom a common length suits."""
        lengths = [row.conditioning.shape[1] for row in rows]
        groups: list[list[int]] = []
        for i in sorted(range(len(rows)), key=lengths.__getitem__):
            together = {lengths[j] for j in [*groups[-1], i]} if groups else set()
            if groups and (len(together) == 1 if self._exact else _may_share(together)):
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _next_size(self, waiting: list[list[int]], like: _Row) -> int:
        """The next call's size: the largest that is filled, since padding costs more than another call does."""
        smallest = self._sizes[0]
        filled = math.ceil(len(waiting) * self._unit / smallest) * smallest
        for size in reversed(self._sizes[1:]):
            fits = size <= min(filled, self._limit) and self._has_room(size, like)
            if fits and (not self._exact or self._alike_in(size, like)):
                return size
        return smallest

    def _has_room(self, size: int, row: _Row) -> bool:
        """Whether a call of so many rows may be tried; once it was, running out of memory tells."""
        case = (size, row.x.shape)
        if size == self._sizes[0] or row.x.device.type == "cpu" or case in self._roomy:
            return True
        if self._peak_bytes(size, row.x.shape[2] * row.x.shape[3]) > free_bytes(row.x.device):
            return False
        self._roomy.add(case)
        return True

    def _alike_in(self, size: int, row: _Row) -> bool:
        """Whether every unit in a call of ``size`` rows is known to come out as in a call of its own, to the bit.

        Kernels are chosen by the whole shape; whether they add up alike follows from the shape alone, and is tried
        out once for each.
        """
        case = (size, row.x.shape, row.conditioning.shape)
        if case not in self._alike:
            self._wishes[case] += 1
            if self._wishes[case] < _WISHES_BEFORE_TRYING:
                return False
            try:
                self._alike[case] = self._tried_alike(_probes(row, size))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._graphs.clear()
                release_cached(row.x.device)
                self._alike[case] = False
        return self._alike[case]

    def _tried_alike(self, probes: list[_Row]) -> bool:
        whole = self._call(probes, len(probes)).clone()
        starts = range(0, len(probes), self._unit)
        return all(
            torch.equal(self._call(probes[i : i + self._unit], self._unit), whole[i : i + self._unit]) for i in starts
        )

    def _call(self, rows: list[_Row], size: int) -> Tensor:
        """The UNet's output for ``rows`` in a call of ``size`` rows, float32 (rows, 4, h, w); good until the next."""
        padded = rows + [rows[0]] * (size - len(rows))
        length = math.lcm(*(row.conditioning.shape[1] for row in rows))
        x = torch.cat([row.x for row in padded])  # (R, 4, h, w)
        times = to_device(torch.tensor([row.time for row in padded]), x.device)  # (R,) float32
        context = torch.cat([_repeated(row.conditioning, length) for row in padded])  # (R, L, width)
        (eps,) = self._graphs(x, times, context.to(x.dtype))
        return eps[: len(rows)]

    def _call_or_shrink(self, rows: list[_Row], size: int) -> Tensor | None:
        """The UNet's output for ``rows``, or None where it did not fit and later calls have fewer rows."""
        try:
            eps = self._call(rows, size).clone()
        except Exception as error:
            if not out_of_memory(error):
                raise
            if size == self._sizes[0]:
                least = f"{size} rows, the least {'that exact batching makes' if self._exact else 'there is'}"
                message = f"the device's memory does not suffice for a UNet call of {least}: {error}"
                raise OutOfMemory(message) from None  # the traceback would keep the tensors alive
            self._limit, self._good_calls = (size + 1) // 2, 0
            return None
        self._good_calls += 1
        if self._limit < self._sizes[-1] and self._good_calls >= _CALLS_BEFORE_GROWING:
            self._limit, self._good_calls = min(self._limit * 2, self._sizes[-1]), 0
        return eps


def _probes(like: _Row, count: int) -> list[_Row]:
    """Different rows of random values."""
    generator = torch.Generator().manual_seed(0)
    return [
        _Row(
            place,
            torch.randn(like.x.shape, generator=generator).to(like.x),
            999.0 * place / count,
            torch.randn(like.conditioning.shape, generator=generator).to(like.conditioning),
        )
        for place in range(count)
    ]


def _guided(evaluation: Evaluation, eps: list[Tensor]) -> Tensor:
    """The denoised prediction from the rows of one evaluation, in the order of ``_evaluation_rows``."""
    kinds = len(eps) // evaluation.x.shape[0]
    parts = [torch.cat(eps[kind::kinds]) if len(eps) > kinds else eps[kind] for kind in range(kinds)]
    predicted = parts[0]
    if kinds == 2:
        predicted = parts[1] + evaluation.cfg_scale * (parts[0] - parts[1])
    return evaluation.x - evaluation.sigma * predicted


def _conditionings(evaluation: Evaluation) -> list[Tensor]:
    if evaluation.cfg_scale == 1:
        return [evaluation.conditioning]
    both = [evaluation.conditioning, evaluation.negative_conditioning]
    lengths = [conditioning.shape[1] for conditioning in both]
    if _may_share(lengths):
        both = [_repeated(conditioning, math.lcm(*lengths)) for conditioning in both]
    return both


def _may_share(lengths: Collection[int]) -> bool:
    return math.lcm(*lengths) <= _MOST_REPEATS * min(lengths)


def _repeated(conditioning: Tensor, length: int) -> Tensor:
    """``conditioning`` repeated along its tokens to ``length``: attention to it is the same, up to rounding."""
    return conditioning.repeat(1, length // conditioning.shape[1], 1)
