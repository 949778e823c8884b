"""Nodes for models and text encoders that are mixed from two others, weight by weight."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Number, parameter
from engine.workflow.models import Clip, Model
from engine.workflow.node import link
from engine.workflow.weights import Weights

_RATIO = Number(0, 1)
_MULTIPLIER = Number(-10, 10)

Shares = tuple[float, float]
"""What the first network's weights are multiplied with before they are added up, and the second's."""


class Merge(Weights):
    """What is mixed from two others of its kind, ``first`` and ``second``."""

    def shares(self, place: str) -> Shares:
        """Return the shares of the weight that a single file calls ``place``: ``input_blocks.0.0.weight``."""
        raise NotImplementedError


class _ByRatio(Merge):
    ratio: float

    def shares(self, place: str) -> Shares:
        return self.ratio, 1 - self.ratio


class _Added(Merge):
    def shares(self, place: str) -> Shares:
        return 1.0, 1.0


class _Subtracted(Merge):
    multiplier: float

    def shares(self, place: str) -> Shares:
        return self.multiplier, -self.multiplier


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MergedModels(_ByRatio, Model):
    """A mean of two models."""

    first: Model = link(Model)
    second: Model = link(Model)
    ratio: float = parameter(1.0, _RATIO, "the first model's share")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MergedModelBlocks(Merge, Model):
    """A mean of two models, with a ratio for each part of the network."""

    first: Model = link(Model)
    second: Model = link(Model)
    input: float = parameter(1.0, _RATIO, "the first model's share on the way down, and of the time embedding")
    middle: float = parameter(1.0, _RATIO, "the first model's share in the middle")
    out: float = parameter(1.0, _RATIO, "the first model's share on the way up, and at the end")

    def shares(self, place: str) -> Shares:
        ratio = self.middle if place.startswith("middle") else self.out if place.startswith("out") else self.input
        return ratio, 1 - ratio


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AddedModels(_Added, Model):
    """The sum of two models."""

    first: Model = link(Model)
    second: Model = link(Model)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SubtractedModels(_Subtracted, Model):
    """The difference of two models, times a factor."""

    first: Model = link(Model)
    second: Model = link(Model)
    multiplier: float = parameter(1.0, _MULTIPLIER, "what the difference is multiplied with")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MergedClips(_ByRatio, Clip):
    """A mean of two text encoders."""

    first: Clip = link(Clip)
    second: Clip = link(Clip)
    ratio: float = parameter(1.0, _RATIO, "the first text encoder's share")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AddedClips(_Added, Clip):
    """The sum of two text encoders."""

    first: Clip = link(Clip)
    second: Clip = link(Clip)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SubtractedClips(_Subtracted, Clip):
    """The difference of two text encoders, times a factor."""

    first: Clip = link(Clip)
    second: Clip = link(Clip)
    multiplier: float = parameter(1.0, _MULTIPLIER, "what the difference is multiplied with")


MERGED_MODELS: tuple[type[Merge], ...] = (MergedModels, MergedModelBlocks, AddedModels, SubtractedModels)
MERGED_CLIPS: tuple[type[Merge], ...] = (MergedClips, AddedClips, SubtractedClips)
