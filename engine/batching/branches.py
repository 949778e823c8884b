"""Branches: what each prediction that guidance adds up is made of, and how it is put together.

A branch is a weighted mean of parts. A part is one prediction of the network: of the whole x or of a window of it, for
one conditioning. Knows no network and no guidance.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.batching.controls import PartControl
from engine.batching.windows import Window
from engine.batching.work import work_of
from engine.networks.patches import Patches

_LEAST_WEIGHT = 1e-37
"""Sums of weights begin here, so that where no part reaches, the prediction is 0 rather than NaN: as in ComfyUI."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Some of a sampling's evaluations: those of some entries of a schedule, each of which begins behind the one
    before. Past the end of the schedule its first entry counts again."""

    lasts: tuple[int, ...]
    """The last evaluation of each entry, counted from 0, rising."""
    own: frozenset[int]
    """The entries, counted from 0."""

    def has(self, evaluation: int) -> bool:
        """Return whether an evaluation, counted from 0, is one of them."""
        entry = bisect.bisect_left(self.lasts, evaluation)
        return (entry if entry < len(self.lasts) else 0) in self.own


@dataclass(frozen=True, kw_only=True)
class Rests:
    """The evaluations of a sampling in which guidance does without a prompt."""

    below: float = 0.0
    """The level below which it rests; 0: nowhere."""
    alternate: bool = True
    """Whether that is so in every second evaluation alone."""
    until: float = 0.0
    """The share of the evaluations, both ends included, in which it rests at first; 0: in none."""
    evaluations: int = 1
    """Of the sampling, about."""

    def has(self, sigma: float, evaluation: int) -> bool:
        """Return whether an evaluation at ``sigma``, counted from 0, is one of them."""
        early = self.until > 0 and evaluation / self.evaluations <= self.until
        return early or (sigma < self.below and (evaluation % 2 == 1 or not self.alternate))


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One prediction of the network for x at a noise level."""

    conditioning: Tensor
    """(1, 77·n, width) on the device."""
    window: Window | None = None
    """The part of x that the network is given; None: all of it."""
    channels: Tensor | None = None
    """(1 or B, c, h, w) on the device: channels that the network takes beside x, in the same window."""
    patches: Patches = ()
    """How the network's own computation is changed; parts whose patches differ do not share calls."""
    controls: tuple[PartControl, ...] = ()
    """What is added to the network's predictions, in this order."""
    beside: tuple[Tensor, ...] = ()
    """What the patches take beside x, (1, …) each on the device."""
    weight: Tensor | None = None
    """(1 or B, 1, h, w) float32 on the device, of the window; None: 1 everywhere."""
    first_sigma: float = math.inf
    """The largest sigma at which it takes part."""
    last_sigma: float = 0.0
    """The smallest one."""
    turns: Turns | None = None
    """The evaluations that it takes part in; None: all."""
    rests: Rests | None = None
    """Those in which guidance does without it; None: none."""

    @property
    def plain(self) -> bool:
        """Whether it is of the whole x with the same weight everywhere."""
        return self.window is None and self.weight is None

    def of_pictures(self, pictures: slice) -> Part:
        """Return the part for some pictures of the batch: what it has for each of them is cut."""
        cut: dict[str, Any] = {
            name: value[pictures]
            for name in ("channels", "weight")
            if (value := getattr(self, name)) is not None and value.shape[0] > 1
        }
        if self.controls:
            cut["controls"] = tuple(control.of_pictures(pictures) for control in self.controls)
        return replace(self, **cut) if cut else self

    def controls_at(self, sigma: float) -> list[PartControl]:
        """Return the controls that work at ``sigma``."""
        return [control for control in self.controls if control.active(sigma)]

    def work(self, cells: int, sigma: float) -> float:
        """Return about what its prediction costs for one x of ``cells`` cells, in the unit of ``batching.work``."""
        controls = sum(control.called for control in self.controls_at(sigma))
        return work_of(cells if self.window is None else self.window.cells, controls)

    def active(self, sigma: Tensor, evaluation: int) -> bool:
        """Return whether it takes part at ``sigma``, both ends of its range included, and in an evaluation."""
        if self.rests is not None and self.rests.has(float(sigma), evaluation):
            return False
        in_turn = self.turns is None or self.turns.has(evaluation)
        return in_turn and self.last_sigma <= float(sigma) <= self.first_sigma


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """A prediction for x: the mean of its parts' predictions, by their weights."""

    parts: tuple[Part, ...]
    rests: bool = False
    """Whether guidance does without it now."""

    def at(self, sigma: Tensor, evaluation: int) -> Branch:
        """Return the branch of the parts that are active at ``sigma``, in a sampling's evaluation, counted from 0."""
        active = tuple(part for part in self.parts if part.active(sigma, evaluation))
        if len(active) == len(self.parts):
            return self
        resting = not active and any(part.rests and part.rests.has(float(sigma), evaluation) for part in self.parts)
        return Branch(parts=active, rests=resting)

    def patched(self, change: Callable[[Patches], Patches]) -> Branch:
        """Return the same branch, predicted by the network with its patches changed."""
        return Branch(parts=tuple(replace(part, patches=change(part.patches)) for part in self.parts))

    @property
    def plain(self) -> bool:
        """Whether it is one plain part."""
        return len(self.parts) == 1 and self.parts[0].plain

    def joined(self, x: Tensor, denoised: Sequence[Tensor]) -> Tensor:
        """Return the mean of the parts' ``denoised`` predictions (B, 4, window), (B, 4, h, w): 0 where none reaches."""
        if self.plain:
            return denoised[0]
        total, weights = torch.zeros_like(x), torch.full_like(x, _LEAST_WEIGHT)
        for part, prediction in zip(self.parts, denoised, strict=True):
            weight = torch.ones_like(prediction) if part.weight is None else part.weight
            where = (total, weights) if part.window is None else (part.window.of(total), part.window.of(weights))
            where[0].add_(prediction * weight)
            where[1].add_(weight)
        return total / weights
