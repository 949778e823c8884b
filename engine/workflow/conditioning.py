"""Nodes that combine and confine conditioning: where in the picture, when, and how strongly each prompt counts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, WholeNumber, parameter
from engine.workflow.latents import MAX_SIDE
from engine.workflow.masks import Mask
from engine.workflow.node import link
from engine.workflow.text import Conditioning

STRENGTH = Number(0, 10)
AREA_SIDE = WholeNumber(64, MAX_SIDE, 8)
AREA_PLACE = WholeNumber(0, MAX_SIDE, 8)

_SHARE = Number(0, 1)
_STRENGTH_HELP = "how much it weighs against the other prompts of the same guidance"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CombineConditioning(Conditioning):
    """The prompts of two: where both reach, the prediction is the mean of theirs, by their strengths."""

    first: Conditioning = link(Conditioning)
    second: Conditioning = link(Conditioning)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ConcatenateConditioning(Conditioning):
    """Prompts, each with the tokens of another one, the first of ``second``, behind its own."""

    first: Conditioning = link(Conditioning)
    second: Conditioning = link(Conditioning)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AverageConditioning(Conditioning):
    """Prompts, each mixed with another one, the first of ``other``: share · tokens + (1 − share) · other tokens.

    The other one's tokens are cut, or filled up with zeros, to the same length.
    """

    conditioning: Conditioning = link(Conditioning)
    other: Conditioning = link(Conditioning)
    share: float = parameter(1.0, _SHARE, "the share of the prompts themselves")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ZeroConditioning(Conditioning):
    """Prompts with zeros in place of their tokens' features."""

    conditioning: Conditioning = link(Conditioning)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithArea(Conditioning):
    """Prompts for a rectangle of the picture, cut at its border. The network sees that rectangle alone."""

    conditioning: Conditioning = link(Conditioning)
    width: int = parameter(64, AREA_SIDE, "width of the area in pixels, a multiple of 8")
    height: int = parameter(64, AREA_SIDE, "height of the area in pixels, a multiple of 8")
    x: int = parameter(0, AREA_PLACE, "its left edge in pixels, a multiple of 8")
    y: int = parameter(0, AREA_PLACE, "its upper edge in pixels, a multiple of 8")
    strength: float = parameter(1.0, STRENGTH, _STRENGTH_HELP)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithAreaShares(Conditioning):
    """Prompts for a rectangle of the picture that is given in shares of its sides, as ``WithArea``."""

    conditioning: Conditioning = link(Conditioning)
    width: float = parameter(1.0, _SHARE, "width of the area, as a share of the picture's")
    height: float = parameter(1.0, _SHARE, "height of the area, as a share of the picture's")
    x: float = parameter(0.0, _SHARE, "its left edge, as a share of the picture's width")
    y: float = parameter(0.0, _SHARE, "its upper edge, as a share of the picture's height")
    strength: float = parameter(1.0, STRENGTH, _STRENGTH_HELP)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithStrength(Conditioning):
    """Prompts of another strength."""

    conditioning: Conditioning = link(Conditioning)
    strength: float = parameter(1.0, STRENGTH, _STRENGTH_HELP)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithMask(Conditioning):
    """Prompts that weigh in each place as much as a mask says, which is scaled to the picture."""

    conditioning: Conditioning = link(Conditioning)
    mask: Mask = link(Mask)
    strength: float = parameter(1.0, STRENGTH, "a factor of the mask")
    bounds: bool = parameter(False, Flag(), "whether the network sees the rectangle around the mask alone")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithRange(Conditioning):
    """Prompts for a range of the sampling. Both ends belong to it."""

    conditioning: Conditioning = link(Conditioning)
    start: float = parameter(0.0, _SHARE, "the share of the sampling from which on they count")
    end: float = parameter(1.0, _SHARE, "the share of the sampling up to which they count")
