"""Nodes that make pictures of pictures: scaled, cut, padded, put together."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, OneOf, WholeNumber, parameter
from engine.workflow.latents import MAX_BATCH, MAX_SIDE
from engine.workflow.masks import COLOUR, Mask
from engine.workflow.node import link
from engine.workflow.pictures import Pictures

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos", "nearest-bytes")
"""How pictures are scaled; lanczos goes through 8 bits."""

BLENDS = ("normal", "multiply", "screen", "overlay", "soft_light", "difference")
"""How pictures are mixed."""

_METHOD = OneOf(METHODS)
_SIDE = WholeNumber(1, MAX_SIDE)
_PLACE = WholeNumber(0, MAX_SIDE)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EmptyPictures(Pictures):
    """Pictures of one colour."""

    width: int = parameter(512, _SIDE, "width in pixels")
    height: int = parameter(512, _SIDE, "height in pixels")
    batch_size: int = parameter(1, WholeNumber(1, MAX_BATCH), "how many")
    colour: int = parameter(0, COLOUR, "the colour: red · 65536 + green · 256 + blue")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ResizePictures(Pictures):
    """Pictures of another size."""

    pictures: Pictures = link(Pictures)
    method: str = parameter("nearest-exact", _METHOD, "how pixels are interpolated")
    width: int = parameter(512, _PLACE, "width in pixels; 0 keeps the aspect ratio")
    height: int = parameter(512, _PLACE, "height in pixels; 0 keeps the aspect ratio")
    crop: str = parameter("disabled", OneOf(("disabled", "center")), "whether the longer side is cropped first")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScalePictures(Pictures):
    """Pictures scaled by a factor."""

    pictures: Pictures = link(Pictures)
    method: str = parameter("nearest-exact", _METHOD, "how pixels are interpolated")
    factor: float = parameter(1.0, Number(0.01, 8), "by which both sides are multiplied")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScaleToMegapixels(Pictures):
    """Pictures scaled to a number of pixels; they keep their aspect ratio."""

    pictures: Pictures = link(Pictures)
    method: str = parameter("nearest-exact", _METHOD, "how pixels are interpolated")
    megapixels: float = parameter(1.0, Number(0.01, 16), "the number of pixels, in units of 1024 × 1024")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InvertPictures(Pictures):
    """Pictures in negative: 1 − value."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BlurPictures(Pictures):
    """Pictures blurred by a Gaussian."""

    pictures: Pictures = link(Pictures)
    radius: int = parameter(1, WholeNumber(1, 31), "how many pixels around one are mixed with it")
    sigma: float = parameter(1.0, Number(0.1, 10), "the width of the bell, in units of the radius")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SharpenPictures(Pictures):
    """Pictures whose difference from a blurred copy is added to them."""

    pictures: Pictures = link(Pictures)
    radius: int = parameter(1, WholeNumber(1, 31), "how many pixels around one are compared with it")
    sigma: float = parameter(1.0, Number(0.1, 10), "the width of the bell, in units of the radius")
    amount: float = parameter(1.0, Number(0, 5), "a tenth of how often the difference is added")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BlendPictures(Pictures):
    """Pictures mixed with others, which are scaled to the size of the first."""

    first: Pictures = link(Pictures)
    second: Pictures = link(Pictures)
    factor: float = parameter(0.5, Number(0, 1), "the share of what the mode makes of both")
    mode: str = parameter("normal", OneOf(BLENDS), "what is made of both")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CropPictures(Pictures):
    """A part of pictures; what lies beyond their border is left out."""

    pictures: Pictures = link(Pictures)
    width: int = parameter(512, _SIDE, "width of the part in pixels")
    height: int = parameter(512, _SIDE, "height of the part in pixels")
    x: int = parameter(0, _PLACE, "its left edge in pixels")
    y: int = parameter(0, _PLACE, "its upper edge in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PadPictures(Pictures):
    """Pictures with grey around them, to be painted on."""

    pictures: Pictures = link(Pictures)
    left: int = parameter(0, _PLACE, "pixels added at the left")
    top: int = parameter(0, _PLACE, "pixels added above")
    right: int = parameter(0, _PLACE, "pixels added at the right")
    bottom: int = parameter(0, _PLACE, "pixels added below")
    feathering: int = parameter(40, _PLACE, "pixels over which the mask that goes with them falls")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExtendPictures(Pictures):
    """Pictures in the middle of a larger canvas, with their outermost rows or columns repeated up to its border.

    It is black where that leaves a gap.
    """

    pictures: Pictures = link(Pictures)
    width: int = parameter(512, _SIDE, "width of the canvas in pixels, at least the pictures'")
    height: int = parameter(512, _SIDE, "height of the canvas in pixels, at least the pictures'")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JoinPictures(Pictures):
    """Two batches as one. The second is scaled to the first's size, bilinear, cropped to the centre."""

    first: Pictures = link(Pictures)
    second: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RepeatPictures(Pictures):
    """The whole batch several times, one after the other."""

    pictures: Pictures = link(Pictures)
    amount: int = parameter(1, WholeNumber(1, MAX_BATCH), "how many times")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PicturesFromBatch(Pictures):
    """Some of a batch."""

    pictures: Pictures = link(Pictures)
    index: int = parameter(0, WholeNumber(0, MAX_BATCH - 1), "the first of them, counted from 0")
    length: int = parameter(1, WholeNumber(1, MAX_BATCH), "how many; those beyond the batch's end are left out")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CompositePictures(Pictures):
    """Pictures pasted onto others, where a mask says so."""

    below: Pictures = link(Pictures)
    above: Pictures = link(Pictures)
    x: int = parameter(0, _PLACE, "the left edge of what is pasted, in pixels")
    y: int = parameter(0, _PLACE, "its upper edge, in pixels")
    resize: bool = parameter(False, Flag(), "whether what is pasted is scaled to the size of what is below first")
    mask: Mask | None = link(Mask, optional=True)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PastedUnder(Pictures):
    """Pictures that are seen where a mask makes a hole in an original, in 8 bits, as AUTOMATIC1111 puts them together;
    it has the original's size."""

    original: Pictures = link(Pictures)
    pictures: Pictures = link(Pictures)
    mask: Mask = link(Mask)
    x: int = parameter(0, _PLACE, "the left edge of the pictures below the original, in pixels")
    y: int = parameter(0, _PLACE, "their upper edge, in pixels")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithTransparency(Pictures):
    """Pictures with a mask as their transparency: alpha is 1 − mask."""

    pictures: Pictures = link(Pictures)
    mask: Mask = link(Mask)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithoutTransparency(Pictures):
    """The red, green and blue of pictures."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MaskPictures(Pictures):
    """Masks as grey pictures."""

    mask: Mask = link(Mask)
