"""A batch of evaluations → their denoised predictions: the only place that calls the UNet.

Owns guidance, the shapes of UNet calls and out-of-memory splitting; knows nothing of samplers, requests and ticks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from engine.config import Batching
from engine.errors import OutOfMemory
from engine.memory import out_of_memory, release_cached
from engine.schedules import timestep
from engine.vae import PIXELS_PER_CELL

_MOST_REPEATS = 4
"""A conditioning is repeated at most so often to share a UNet call with a longer one."""

_FLOATS_PER_CELL_AND_CHANNEL = 60
"""Peak memory of a call over (rows · latent cells · base channels), in elements; measured with the full-size UNet."""

_CALLS_BEFORE_GROWING = 100
"""After running out of memory, calls grow again after so many that went well."""


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
    """One checkpoint's UNet. Not thread-safe: the device's thread owns it."""

    def __init__(self, unet: UNet2DConditionModel, *, batching: Batching, rows: int) -> None:
        self._unet = unet
        self._exact = batching == "exact"
        self._rows = self._limit = rows
        self._good_calls = 0
        self._alike: dict[tuple[torch.Size, torch.Size], bool] = {}

    def peak_bytes(self, width: int, height: int) -> int:
        """About what one UNet call for pictures of ``width`` × ``height`` pixels takes beside the weights."""
        rows = self._rows if self._exact else 2
        channels: int = self._unet.config.block_out_channels[0]
        itemsize: int = self._unet.dtype.itemsize
        cells = (width // PIXELS_PER_CELL) * (height // PIXELS_PER_CELL)
        return rows * cells * channels * _FLOATS_PER_CELL_AND_CHANNEL * itemsize

    def pictures_at_once(self, cfg_scale: float) -> int:
        """How many pictures of a batch fit into one UNet call."""
        return max(1, self._rows // (1 if cfg_scale == 1 else 2))

    def group(self, evaluation: Evaluation) -> Hashable:
        """Evaluations of equal group may be handed to ``denoise`` together."""
        lengths = {conditioning.shape[1] for conditioning in _conditionings(evaluation)} if self._exact else set()
        return (id(self), evaluation.x.shape[2:], frozenset(lengths))

    @torch.inference_mode()
    def denoise(self, evaluations: Sequence[Evaluation]) -> list[Tensor]:
        """The denoised prediction for each evaluation, float32 (B, 4, h, w), all of one latent shape.

        denoised = x − σ·eps, with eps = uncond + cfg_scale·(cond − uncond) (Ho & Salimans 2022, eq. 6), on the UNet's
        input x / √(1 + σ²) (Karras et al. 2022, table 1, VE in VP form).

        In exact mode every UNet call has the same number of rows, padded, and an evaluation's conditionings have the
        same length whatever is beside them; evaluations share calls only where the device was seen to compute a row
        alike at every place of a call. So the result does not depend on the other evaluations, to the bit. In fast
        mode calls are as large as they can be, and are split when the device's memory does not suffice.

        Raises ``OutOfMemory`` when a call that may not be split any further does not fit.
        """
        rows = [list(self._evaluation_rows(evaluation, owner)) for owner, evaluation in enumerate(evaluations)]
        eps = self._eps(list(itertools.chain.from_iterable(rows)))
        predictions, start = [], 0
        for evaluation, own in zip(evaluations, rows, strict=True):
            predictions.append(_guided(evaluation, eps[start : start + len(own)]))
            start += len(own)
        return predictions

    def _evaluation_rows(self, evaluation: Evaluation, owner: int) -> Iterator[_Row]:
        """The conditional rows, one for each picture, then the unconditional ones where guidance needs them."""
        scaled = (evaluation.x / torch.sqrt(1 + evaluation.sigma**2)).to(self._unet.dtype)
        time = timestep(evaluation.sigma)
        for conditioning in _conditionings(evaluation):
            for x in scaled.split(1):
                yield _Row(owner, x, time, conditioning)

    def _eps(self, rows: list[_Row]) -> Tensor:
        """The UNet's output for each row, float32 (rows, 4, h, w)."""
        eps = torch.empty(len(rows), *rows[0].x.shape[1:], device=rows[0].x.device)
        for group in self._groups(rows):
            waiting = group
            while waiting:
                call = waiting[: self._limit]
                part = self._call_or_shrink([rows[i] for i in call])
                if part is None:
                    release_cached(eps.device)
                    continue
                for i, row in zip(call, part, strict=True):
                    eps[i] = row
                waiting = waiting[len(call) :]
        return eps

    def _groups(self, rows: list[_Row]) -> list[list[int]]:
        """Which rows may share calls: in fast mode those that a common conditioning length suits.

        In exact mode those of equal length, and of one evaluation unless the places of a call are alike.
        """
        lengths = [row.conditioning.shape[1] for row in rows]
        groups: list[list[int]] = []
        for i in sorted(range(len(rows)), key=lengths.__getitem__):
            if groups and self._go_together([rows[j] for j in groups[-1]], rows[i]):
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _go_together(self, group: list[_Row], row: _Row) -> bool:
        lengths = {member.conditioning.shape[1] for member in [*group, row]}
        if not self._exact:
            return _may_share(lengths)
        return len(lengths) == 1 and (group[-1].owner == row.owner or self._places_alike(row))

    def _places_alike(self, row: _Row) -> bool:
        """Whether a row comes out the same, to the bit, at every place of a call of this shape; tried once a shape.

        Kernels may treat the last rows of a block differently: whether they do follows from the shape alone. Calls of
        up to two rows hold one picture's rows anyway.
        """
        if self._rows <= 2:
            return False
        shape = (row.x.shape, row.conditioning.shape)
        if shape not in self._alike:
            generator = torch.Generator().manual_seed(0)
            probes = [
                _Row(
                    place,
                    torch.randn(row.x.shape, generator=generator).to(row.x),
                    999.0 * place / self._rows,
                    torch.randn(row.conditioning.shape, generator=generator).to(row.conditioning),
                )
                for place in range(self._rows)
            ]
            try:
                first = self._call(probes)
                self._alike[shape] = all(
                    torch.equal(self._call(probes[shift:] + probes[:shift]), first.roll(-shift, 0))
                    for shift in range(1, self._rows)
                )
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._alike[shape] = False
        return self._alike[shape]

    def _call(self, rows: list[_Row]) -> Tensor:
        padding = [rows[0]] * (self._rows - len(rows)) if self._exact else []
        length = math.lcm(*(row.conditioning.shape[1] for row in rows))
        rows = rows + padding
        x = torch.cat([row.x for row in rows])  # (R, 4, h, w)
        times = torch.tensor([row.time for row in rows])  # (R,) float32
        context = torch.cat([_repeated(row.conditioning, length) for row in rows])  # (R, L, width)
        eps: Tensor = self._unet(x, times.to(x.device, non_blocking=True), context.to(x.dtype), return_dict=False)[
            0
        ]  # (R, 4, h, w)
        return eps[: len(rows) - len(padding)].float()

    def _call_or_shrink(self, rows: list[_Row]) -> Tensor | None:
        """The UNet's output for ``rows``, or None where it did not fit and later calls have fewer rows."""
        try:
            eps = self._call(rows)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if self._exact or len(rows) == 1:
                unit = f"{self._rows} rows, which exact batching never splits" if self._exact else "a single row"
                message = f"the device's memory does not suffice for a UNet call of {unit}: {error}"
                raise OutOfMemory(message) from None  # the traceback would keep the tensors alive
            self._limit, self._good_calls = (len(rows) + 1) // 2, 0
            return None
        self._good_calls += 1
        if self._limit < self._rows and self._good_calls >= _CALLS_BEFORE_GROWING:
            self._limit, self._good_calls = min(self._limit * 2, self._rows), 0
        return eps


def _guided(evaluation: Evaluation, eps: Tensor) -> Tensor:
    """The denoised prediction from the rows of one evaluation, in the order of ``_evaluation_rows``."""
    pictures = evaluation.x.shape[0]
    cond, uncond = eps[:pictures], eps[pictures:]
    if uncond.shape[0]:
        cond = uncond + evaluation.cfg_scale * (cond - uncond)
    return evaluation.x - evaluation.sigma * cond


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
