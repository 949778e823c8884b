"""Nodes for latents: (B, 4, h, w) as the VAE takes them, one cell for 8 × 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Number, OneOf, WholeNumber, parameter
from engine.workflow.node import Node, link

MAX_SIDE = 16384
"""The longest side of a picture, in pixels."""

MAX_BATCH = 4096

MAX_REPEATS = 64
"""Times that a batch is repeated."""

METHODS = (
    *("nearest-exact", "bilinear", "area", "bicubic", "bislerp", "bilinear-antialiased", "bicubic-antialiased"),
    "nearest",
)
"""How latents are scaled."""

_X_OR_Y = WholeNumber(0, MAX_SIDE, 8)


class Latents(Node):
    """A batch of latents."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EmptyLatents(Latents):
    """Zeros, to begin from noise alone."""

    width: int = parameter(512, WholeNumber(16, MAX_SIDE, 8), "width in pixels, a multiple of 8")
    height: int = parameter(512, WholeNumber(16, MAX_SIDE, 8), "height in pixels, a multiple of 8")
    batch_size: int = parameter(1, WholeNumber(1, MAX_BATCH), "pictures drawn from one noise tensor")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RepeatLatents(Latents):
    """The whole batch several times, one after the other."""

    latents: Latents = link(Latents)
    amount: int = parameter(1, WholeNumber(1, MAX_REPEATS), "how many times")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LatentsFromBatch(Latents):
    """Some of a batch. Noise for them is drawn as if the whole batch were sampled."""

    latents: Latents = link(Latents)
    index: int = parameter(0, WholeNumber(0, 63), "the first of them, counted from 0")
    length: int = parameter(1, WholeNumber(1, 64), "how many; those beyond the batch's end are left out")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JoinLatents(Latents):
    """Two batches as one. The second is scaled to the first's size, bilinear, cropped to the centre."""

    first: Latents = link(Latents)
    second: Latents = link(Latents)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ResizeLatents(Latents):
    """Latents of another size."""

    latents: Latents = link(Latents)
    method: str = parameter("nearest-exact", OneOf(METHODS), "how cells are interpolated")
    width: int = parameter(512, WholeNumber(0, MAX_SIDE), "width in pixels; 0 keeps the aspect ratio")
    height: int = parameter(512, WholeNumber(0, MAX_SIDE), "height in pixels; 0 keeps the aspect ratio")
    crop: str = parameter("disabled", OneOf(("disabled", "center")), "whether the longer side is cropped first")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScaleLatents(Latents):
    """Latents scaled by a factor."""

    latents: Latents = link(Latents)
    method: str = parameter("nearest-exact", OneOf(METHODS), "how cells are interpolated")
    factor: float = parameter(1.5, Number(0.01, 8), "by which both sides are multiplied")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FlipLatents(Latents):
    """Latents, mirrored."""

    latents: Latents = link(Latents)
    axis: str = parameter(
        "x-axis: vertically", OneOf(("x-axis: vertically", "y-axis: horizontally")), "which way they are mirrored"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RotateLatents(Latents):
    """Latents, turned clockwise."""

    latents: Latents = link(Latents)
    rotation: str = parameter("none", OneOf(("none", "90 degrees", "180 degrees", "270 degrees")), "how far")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CropLatents(Latents):
    """A part of latents. At least 8 cells stay each way: a corner beyond that moves in."""

    latents: Latents = link(Latents)
    width: int = parameter(512, WholeNumber(64, MAX_SIDE, 8), "width of the part in pixels")
    height: int = parameter(512, WholeNumber(64, MAX_SIDE, 8), "height of the part in pixels")
    x: int = parameter(0, _X_OR_Y, "its left edge, in pixels")
    y: int = parameter(0, _X_OR_Y, "its upper edge, in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CompositeLatents(Latents):
    """Latents pasted onto others."""

    below: Latents = link(Latents)
    above: Latents = link(Latents)
    x: int = parameter(0, _X_OR_Y, "the left edge of what is pasted, in pixels")
    y: int = parameter(0, _X_OR_Y, "its upper edge, in pixels")
    feather: int = parameter(0, _X_OR_Y, "the width of its fading edges, in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BlendLatents(Latents):
    """A mean of two: factor · first + (1 − factor) · second. The second is scaled to the first's size if it differs."""

    first: Latents = link(Latents)
    second: Latents = link(Latents)
    factor: float = parameter(0.5, Number(0, 1), "the share of the first")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AddLatents(Latents):
    """The sum of two, the second repeated or cut to the first's number of pictures."""

    first: Latents = link(Latents)
    second: Latents = link(Latents)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SubtractLatents(Latents):
    """The difference of two, as ``AddLatents``."""

    first: Latents = link(Latents)
    second: Latents = link(Latents)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiplyLatents(Latents):
    """Latents times a number."""

    latents: Latents = link(Latents)
    factor: float = parameter(1.0, Number(-10, 10), "the number")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InterpolateLatents(Latents):
    """Between two: their directions and their lengths are interpolated apart, the direction by its mean."""

    first: Latents = link(Latents)
    second: Latents = link(Latents)
    ratio: float = parameter(1.0, Number(0, 1), "the share of the first")
