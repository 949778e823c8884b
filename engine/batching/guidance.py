"""How predictions make one denoised prediction: the branches of a guider, and how they add up.

A branch is one prediction of the network for the same x: what it is conditioned on. Knows no network and no sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Guidance(Protocol):
    """What a trajectory is guided by."""

    @property
    def branches(self) -> tuple[Tensor, ...]:
        """What each branch is conditioned on: (1, 77·n, width) on the device, n of its own for each."""

    def denoised(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        """The denoised prediction for x (B, 4, h, w) at ``sigma``, from each branch's eps (B, 4, h, w)."""

    def unconditional(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        """The denoised prediction without the positive prompt, for samplers that need it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unguided:
    """One prediction alone."""

    positive: Tensor

    @property
    def branches(self) -> tuple[Tensor, ...]:
        return (self.positive,)

    def denoised(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        return _denoised(x, sigma, eps[0])

    def unconditional(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        """Zeros: where nothing is predicted, ComfyUI takes 0."""
        return torch.zeros_like(x)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierFree:
    """eps = uncond + scale · (cond − uncond): Ho & Salimans 2022 (arXiv 2207.12598), equation 6."""

    positive: Tensor
    negative: Tensor
    scale: float

    @property
    def branches(self) -> tuple[Tensor, ...]:
        return self.positive, self.negative

    def denoised(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        cond, uncond = eps
        return _denoised(x, sigma, uncond + self.scale * (cond - uncond))

    def unconditional(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        return _denoised(x, sigma, eps[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Dual:
    """Guidance from negative to middle to positive: as InstructPix2Pix does (Brooks 2023, 2211.09800)."""

    positive: Tensor
    middle: Tensor
    negative: Tensor
    scale: float
    middle_scale: float
    nested: bool

    @property
    def branches(self) -> tuple[Tensor, ...]:
        return self.positive, self.middle, self.negative

    def denoised(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        positive, middle, negative = (_denoised(x, sigma, each) for each in eps)
        if self.nested:
            inner = middle + self.scale * (positive - middle)
            return negative + self.middle_scale * (inner - negative)
        return negative + self.middle_scale * (middle - negative) + self.scale * (positive - middle)

    def unconditional(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        return _denoised(x, sigma, eps[2])


@dataclass(frozen=True, kw_only=True, eq=False)
class PerpendicularNegative:
    """Perp-Neg (Armandpour et al. 2023, arXiv 2304.04968): of the negative direction only what is perpendicular counts.

    Lengths and products are of the whole batch, as in ComfyUI.
    """

    positive: Tensor
    negative: Tensor
    empty: Tensor
    scale: float
    negative_scale: float

    @property
    def branches(self) -> tuple[Tensor, ...]:
        return self.positive, self.negative, self.empty

    def denoised(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        positive, negative, empty = (_denoised(x, sigma, each) for each in eps)
        towards, away = positive - empty, negative - empty
        along = (away * towards).sum() / towards.norm() ** 2 * towards
        guided: Tensor = empty + self.scale * (towards - self.negative_scale * (away - along))
        return guided

    def unconditional(self, x: Tensor, sigma: Tensor, eps: Sequence[Tensor]) -> Tensor:
        return _denoised(x, sigma, eps[1])


def _denoised(x: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """What is left of x once the predicted noise is taken away."""
    return x - sigma * eps
