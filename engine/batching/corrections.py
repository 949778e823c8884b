"""Corrections of guidance by self-attention: rules around other rules, each with a branch of its own behind theirs.

Knows no network beside the patches that its branches have.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from engine.batching.branches import Branch
from engine.batching.guidance import Ask, Course, Guidance, Guided, Pair, Predictions
from engine.networks.attending import NoteAttention, SeeNothing

_BLUR = 4
"""Cells on each side that a blurred cell is made of."""


class Correction(Protocol):
    """What a patch of a model adds to guidance."""

    needs_negative: bool
    """Whether the negative prompt is predicted even where guidance has no use for it."""

    def around(self, guidance: Guidance, branches: Sequence[Branch]) -> tuple[Guidance, tuple[Branch, ...]]:
        """Return ``guidance`` with the correction, and the branches that it takes, made of those that it took."""


@dataclass(frozen=True, kw_only=True)
class PerturbedAttention:
    """+ scale · (positive − perturbed), perturbed being predicted by a network whose middle sees nothing around each
    place (Ahn et al. 2024, arXiv 2403.17377)."""

    scale: float
    needs_negative = False

    def around(self, guidance: Guidance, branches: Sequence[Branch]) -> tuple[Guidance, tuple[Branch, ...]]:
        perturbed = branches[guidance.pair.positive].patched(lambda patches: (*patches, SeeNothing()))
        return _Perturbed(guidance=guidance, scale=self.scale), (*branches, perturbed)


@dataclass(frozen=True, kw_only=True)
class SelfAttention:
    """+ scale · (blurred − sag): sag is predicted of a picture whose negative prediction was blurred where the network
    looks most (Hong et al. 2022, arXiv 2210.00939)."""

    scale: float
    blur: float
    """The standard deviation of the blur, in cells, above 0."""
    needs_negative = True

    def around(self, guidance: Guidance, branches: Sequence[Branch]) -> tuple[Guidance, tuple[Branch, ...]]:
        negative = guidance.pair.negative
        assert negative is not None  # what was asked for is checked before
        noting = (branch.patched(lambda patches: (NoteAttention(), *patches)) for branch in branches)
        return _SelfAttending(guidance=guidance, scale=self.scale, blur=self.blur), (*noting, branches[negative])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Perturbed:
    guidance: Guidance
    scale: float

    @property
    def pair(self) -> Pair:
        return self.guidance.pair

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        guided, first = yield from _followed(self.guidance.course(x, sigma, branches[:-1]), branches[-1:])
        difference = first.denoised(first.values[self.pair.positive]) - first.denoised(first.values[-1])
        return _corrected(guided, self.pair.weight * self.scale * difference)


@dataclass(frozen=True, kw_only=True, eq=False)
class _SelfAttending:
    guidance: Guidance
    scale: float
    blur: float

    @property
    def pair(self) -> Pair:
        return self.guidance.pair

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        guided, first = yield from _followed(self.guidance.course(x, sigma, branches[:-1]))
        assert self.pair.negative is not None
        negative = first.denoised(first.values[self.pair.negative])
        noted = first.beside[1]  # in ComfyUI it is the second prompt's attention whatever the guider
        if min(x.shape[2:]) <= _BLUR or not noted:
            return guided
        blurred = _blurred_where(negative, noted[-1], self.blur)
        again = yield Ask(x - negative + blurred, branches[-1:])
        return _corrected(guided, self.pair.weight * self.scale * (blurred - again.denoised(again.values[0])))


def _followed(
    course: Course, further: Sequence[Branch] = ()
) -> Generator[Ask, Predictions, tuple[Guided, Predictions]]:
    """Run ``course``; return what came of it, and the predictions that it asked for first, with those of ``further``
    branches behind them."""
    ask = next(course)
    first = yield Ask(ask.x, (*ask.branches, *further))
    count = len(ask.branches)
    answer = replace(first, values=first.values[:count], beside=first.beside[:count])
    while True:
        try:
            ask = course.send(answer)
        except StopIteration as stop:
            return stop.value, first
        answer = yield ask


def _corrected(guided: Guided, correction: Tensor) -> Guided:
    return replace(guided, denoised=guided.denoised + correction)


def _blurred_where(denoised: Tensor, attended: Tensor, blur: float) -> Tensor:
    """``denoised`` (B, 4, h, w), blurred where ``attended`` (B, n), attention to each place, is above its mean of 1."""
    height, width = denoised.shape[2:]
    rows = _rows(attended.shape[1], height / width)
    mask = (attended > 1).to(denoised.dtype).unflatten(1, (1, rows, -1))
    mask = interpolate(mask, size=(height, width), mode="nearest")
    return _blurred(denoised, blur) * mask + denoised * (1 - mask)


def _rows(tokens: int, aspect: float) -> int:
    """Return the number of rows that ``tokens`` tokens lie in: the divisor nearest to ``aspect``, height to width."""
    wanted = round(math.sqrt(aspect * tokens))
    divisors = (rows for rows in range(1, tokens + 1) if tokens % rows == 0)
    return min(divisors, key=lambda rows: (abs(rows - wanted), -rows))


def _blurred(x: Tensor, blur: float) -> Tensor:
    """x (B, C, h, w), h and w above 4, with a Gaussian of 9 × 9 cells; its borders are mirrored."""
    distance = torch.arange(-_BLUR, _BLUR + 1, dtype=torch.float32, device=x.device)
    weights = torch.exp(-0.5 * (distance / blur) ** 2)
    weights = weights / weights.sum()
    kernel = (weights[:, None] * weights).expand(x.shape[1], 1, -1, -1)
    return conv2d(pad(x, [_BLUR] * 4, mode="reflect"), kernel, groups=x.shape[1])
