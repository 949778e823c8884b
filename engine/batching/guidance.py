"""How branches make one denoised prediction: the rules of guiders.

A rule is a course: it asks for the predictions of some branches for an x, is sent them, and may ask again. Knows no
network, no conditioning and no sampler.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from engine.batching.branches import Branch
from engine.batching.windows import Window
from engine.sampling.parametrization import Parametrization


@dataclass(frozen=True, eq=False)
class Ask:
    """The predictions that a course wants for one x."""

    x: Tensor
    """float32 (B, 4, h, w) on the device, in sigma scale."""
    branches: Sequence[Branch]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Each branch's prediction for x at sigma."""

    x: Tensor
    sigma: Tensor
    values: Sequence[Tensor]
    """(B, 4, h, w) float32: eps where ``eps`` says so, else denoised."""
    parametrization: Parametrization
    eps: bool
    beside: Sequence[Sequence[Tensor]] = ()
    """What patched networks return beside their predictions, part by part."""

    def denoised(self, value: Tensor) -> Tensor:
        """Return ``value``, one of ``values`` or a sum of them whose weights add up to 1, as a denoised prediction."""
        return self.parametrization.denoised(self.x, self.sigma, value) if self.eps else value

    @property
    def all_denoised(self) -> list[Tensor]:
        """The denoised prediction of each branch."""
        return [self.denoised(value) for value in self.values]


@dataclass(frozen=True, eq=False)
class Guided:
    """What came of a course."""

    denoised: Tensor
    """(B, 4, h, w) float32."""
    unconditional: Tensor | None = None
    """The denoised prediction without the positive prompt, for samplers that need it; None: nothing predicted it."""


Course: TypeAlias = Generator[Ask, Predictions, Guided]


class Pair(NamedTuple):
    """The places of the two branches that a rule's guidance leads between: what corrects guidance goes by them."""

    positive: int
    negative: int | None
    """None where nothing is predicted for it."""
    weight: float = 1.0
    """How much a correction counts in the rule's own result."""


class Guidance(Protocol):
    """A rule. It is handed the branches of its guider's prompts in the order in which its class names them."""

    @property
    def pair(self) -> Pair: ...

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        """Return a course to the denoised prediction for x (B, 4, h, w) at ``sigma`` (0-dim float32 on the CPU)."""


@dataclass(frozen=True, kw_only=True)
class Unguided:
    """One prediction alone: positive."""

    @property
    def pair(self) -> Pair:
        return Pair(0, None)

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        predicted = yield Ask(x, branches[:1])
        return Guided(predicted.denoised(predicted.values[0]))


@dataclass(frozen=True, kw_only=True)
class ClassifierFree:
    """uncond + scale · (cond − uncond): Ho & Salimans 2022 (arXiv 2207.12598), equation 6. Positive, negative."""

    scale: float
    rescale: float = 0.0
    """How much of the result has the positive prediction's spread, 0 … 1: see ``rescaled``."""

    @property
    def pair(self) -> Pair:
        return Pair(0, 1)

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        if _rests(branches):
            return (yield from Unguided().course(x, sigma, branches))
        predicted = yield Ask(x, branches)
        if self.rescale:
            cond, uncond = predicted.all_denoised
            return Guided(rescaled(x, sigma, cond, uncond, self.scale, self.rescale), uncond)
        cond, uncond = predicted.values
        denoised = predicted.denoised(uncond + self.scale * (cond - uncond))
        return Guided(denoised, predicted.denoised(uncond))


@dataclass(frozen=True, kw_only=True)
class Dual:
    """Guidance from negative to middle to positive: as InstructPix2Pix does (Brooks 2023, 2211.09800).

    Positive, middle, negative.
    """

    scale: float
    middle_scale: float
    nested: bool
    rescale: float = 0.0
    """As for ``ClassifierFree``, of the inner guidance: to the middle, or where nested to the positive."""

    @property
    def pair(self) -> Pair:
        return Pair(0, 1, self.middle_scale) if self.nested else Pair(1, 2)

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        predicted = yield Ask(x, branches)
        positive, middle, negative = predicted.all_denoised
        if self.nested:
            inner = rescaled(x, sigma, positive, middle, self.scale, self.rescale)
            return Guided(negative + self.middle_scale * (inner - negative), negative)
        towards = rescaled(x, sigma, middle, negative, self.middle_scale, self.rescale)
        return Guided(towards + self.scale * (positive - middle), negative)


@dataclass(frozen=True, kw_only=True)
class PerpendicularNegative:
    """Perp-Neg (Armandpour et al. 2023, arXiv 2304.04968): of the negative direction only what is perpendicular counts.

    Lengths and products are of the whole batch, as in ComfyUI. Positive, negative, empty.
    """

    scale: float
    negative_scale: float

    @property
    def pair(self) -> Pair:
        return Pair(0, 1)

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        predicted = yield Ask(x, branches)
        positive, negative, empty = predicted.all_denoised
        towards, away = positive - empty, negative - empty
        along = (away * towards).sum() / towards.norm() ** 2 * towards
        guided: Tensor = empty + self.scale * (towards - self.negative_scale * (away - along))
        return Guided(guided, negative)


@dataclass(frozen=True, kw_only=True)
class Composed:
    """uncond + Σ scale · (cond − uncond), over several prompts: Liu et al. 2022 (arXiv 2206.01714), equation 11.

    The prompts, negative. The differences are not divided by the sum of their scales. While the negative one rests, the
    first stands for it, and the scales are ``weights``.
    """

    scales: tuple[float, ...]
    weights: tuple[float, ...] = ()

    @property
    def pair(self) -> Pair:
        return Pair(0, len(self.scales))

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        predicted = yield Ask(x, branches[:-1] if _rests(branches) else branches)
        *conds, uncond = (*predicted.values, predicted.values[0]) if _rests(branches) else predicted.values
        guided = uncond
        scales = self.weights if _rests(branches) else self.scales
        for scale, cond in zip(scales, conds, strict=True):
            guided = guided + scale * (cond - uncond)
        return Guided(predicted.denoised(guided), predicted.denoised(uncond))


def _rests(branches: Sequence[Branch]) -> bool:
    """Whether the negative prompt, which comes last, rests."""
    return bool(branches) and branches[-1].rests


def rescaled(x: Tensor, sigma: Tensor, cond: Tensor, uncond: Tensor, scale: float, share: float) -> Tensor:
    """Return uncond + scale · (cond − uncond), ``share`` of it with the spread over each picture that ``cond`` has.

    Lin et al. 2023 (arXiv 2305.08891), section 3.4, on the velocities that the denoised predictions stand for: strong
    guidance makes pictures too bright and too contrasty.
    """
    if not share:
        return uncond + scale * (cond - uncond)
    total = sigma**2 + 1
    cond_v, uncond_v = ((x / total - each) * total.sqrt() / sigma for each in (cond, uncond))
    guided = uncond_v + scale * (cond_v - uncond_v)
    spread, wanted = (each.std((1, 2, 3), keepdim=True) for each in (guided, cond_v))
    velocity = guided * (share * wanted / spread + 1 - share)
    denoised: Tensor = x / total - velocity * sigma / total.sqrt()
    return denoised


def predictions_of(
    ask: Ask, sigma: Tensor, outputs: Sequence[tuple[Tensor, ...]], parametrization: Parametrization
) -> Predictions:
    """Return the predictions of the branches that were asked for, from the network's ``outputs`` for each of their
    parts. Where each branch is one plain part, sums of eps are left to guidance, which rounds them once."""
    eps = parametrization.linear_in_eps and all(branch.plain for branch in ask.branches)
    rest, values, beside = iter(outputs), [], []
    for branch in ask.branches:
        own = list(itertools.islice(rest, len(branch.parts)))
        beside.append([each for output in own for each in output[1:]])
        if eps:
            values.append(own[0][0])
            continue
        denoised = [
            parametrization.denoised(_of(part.window, ask.x), sigma, output[0])
            for part, output in zip(branch.parts, own, strict=True)
        ]
        values.append(branch.joined(ask.x, denoised))
    return Predictions(ask.x, sigma, values, parametrization, eps, beside)


def _of(window: Window | None, x: Tensor) -> Tensor:
    return x if window is None else window.of(x)


def unconditional_of(guided: Guided) -> Tensor:
    """Return the unconditional prediction; zeros where nothing predicted it, which is what ComfyUI takes."""
    return torch.zeros_like(guided.denoised) if guided.unconditional is None else guided.unconditional
