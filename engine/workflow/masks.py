"""Nodes for masks: one value from 0 to 1 for each pixel, mostly 1 where something is to be painted anew."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, Flag, Number, OneOf, WholeNumber, parameter
from engine.workflow.latents import MAX_SIDE
from engine.workflow.node import Node, link
from engine.workflow.pictures import PICTURE_NAME, Pictures

_SIDE = WholeNumber(1, MAX_SIDE)
_PLACE = WholeNumber(0, MAX_SIDE)

BLUR = WholeNumber(0, 256)

COLOUR = WholeNumber(0, 0xFFFFFF)
"""A colour as one number: red · 65536 + green · 256 + blue."""


class Mask(Node):
    """A batch of masks."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadTransparency(Mask):
    """How transparent each pixel of a picture is that the caller handed in; 64 × 64 zeros where it has no alpha."""

    name: str = parameter(REQUIRED, PICTURE_NAME, "which of the pictures that were handed in")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadMask(Mask):
    """A channel of a picture that the caller handed in; of alpha, 1 − alpha."""

    name: str = parameter(REQUIRED, PICTURE_NAME, "which of the pictures that were handed in")
    channel: str = parameter("alpha", OneOf(("alpha", "red", "green", "blue")), "which of its channels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ChannelMask(Mask):
    """A channel of pictures."""

    pictures: Pictures = link(Pictures)
    channel: str = parameter("red", OneOf(("red", "green", "blue", "alpha")), "which channel")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BrightnessMask(Mask):
    """How bright pictures are, in 8 bits: 0.299 red + 0.587 green + 0.114 blue."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TransparencyMask(Mask):
    """How transparent each pixel of pictures is: 1 − alpha; 0 where they have no alpha."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ColourMask(Mask):
    """1 where pictures have a colour, in 8 bits for each channel, and 0 elsewhere."""

    pictures: Pictures = link(Pictures)
    colour: int = parameter(0, COLOUR, "the colour: red · 65536 + green · 256 + blue")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PaddingMask(Mask):
    """1 where ``PadPictures`` adds pixels, falling to 0 within its feathering."""

    pictures: Pictures = link(Pictures)
    left: int = parameter(0, _PLACE, "pixels added at the left")
    top: int = parameter(0, _PLACE, "pixels added above")
    right: int = parameter(0, _PLACE, "pixels added at the right")
    bottom: int = parameter(0, _PLACE, "pixels added below")
    feathering: int = parameter(40, _PLACE, "pixels over which the mask falls within the picture")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SolidMask(Mask):
    """One value everywhere."""

    value: float = parameter(1.0, Number(0, 1), "the value")
    width: int = parameter(512, _SIDE, "width in pixels")
    height: int = parameter(512, _SIDE, "height in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InvertMask(Mask):
    """1 − mask."""

    mask: Mask = link(Mask)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ResizeMask(Mask):
    """A mask of another size."""

    mask: Mask = link(Mask)
    method: str = parameter(
        "bicubic",
        OneOf(("bicubic", "nearest")),
        "bicubic: smoothed, as Pillow does it in 8 bits; nearest: the value at the upper left",
    )
    width: int = parameter(64, _SIDE, "width of the new one, in pixels or cells")
    height: int = parameter(64, _SIDE, "its height")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CropMask(Mask):
    """A part of a mask."""

    mask: Mask = link(Mask)
    x: int = parameter(0, _PLACE, "the part's left edge in pixels")
    y: int = parameter(0, _PLACE, "its upper edge in pixels")
    width: int = parameter(512, _SIDE, "its width in pixels")
    height: int = parameter(512, _SIDE, "its height in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CombineMasks(Mask):
    """A mask with another laid onto it, clamped to 0 … 1."""

    below: Mask = link(Mask)
    above: Mask = link(Mask)
    x: int = parameter(0, _PLACE, "the left edge of what is laid on, in pixels")
    y: int = parameter(0, _PLACE, "its upper edge in pixels")
    operation: str = parameter(
        "multiply", OneOf(("multiply", "add", "subtract", "and", "or", "xor")), "how the two are combined"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FeatherMask(Mask):
    """A mask that fades at its sides."""

    mask: Mask = link(Mask)
    left: int = parameter(0, _PLACE, "pixels over which it fades at the left")
    top: int = parameter(0, _PLACE, "pixels over which it fades above")
    right: int = parameter(0, _PLACE, "pixels over which it fades at the right")
    bottom: int = parameter(0, _PLACE, "pixels over which it fades below")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BlurMask(Mask):
    """A mask, blurred by a Gaussian in 8 bits."""

    mask: Mask = link(Mask)
    x: int = parameter(4, BLUR, "its standard deviation along the width in pixels; 0 does not blur")
    y: int = parameter(4, BLUR, "its standard deviation along the height in pixels; 0 does not blur")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GrowMask(Mask):
    """A mask whose bright parts grow, or shrink."""

    mask: Mask = link(Mask)
    expand: int = parameter(0, WholeNumber(-MAX_SIDE, MAX_SIDE), "pixels by which they grow; below 0 they shrink")
    tapered_corners: bool = parameter(True, Flag(), "whether corners are cut")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ThresholdMask(Mask):
    """1 where a mask is above a value, 0 elsewhere."""

    mask: Mask = link(Mask)
    value: float = parameter(0.5, Number(0, 1), "the value")
