"""Nodes that make of pictures what networks are steered by, without a network of their own."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, OneOf, WholeNumber, parameter
from engine.workflow.latents import MAX_SIDE
from engine.workflow.masks import Mask
from engine.workflow.node import link
from engine.workflow.pictures import Pictures

_THRESHOLD = Number(0.01, 0.99)
_BYTE = WholeNumber(0, 255)
_GAMMA = Number(0.1, 2)
_RESOLUTION = WholeNumber(64, MAX_SIDE)
_SHORTER = "the shorter side of what is made, in pixels"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Edges(Pictures):
    """The edges of pictures, white on black (Canny 1986)."""

    pictures: Pictures = link(Pictures)
    low_threshold: float = parameter(0.4, _THRESHOLD, "how steep a pixel is that carries an edge on")
    high_threshold: float = parameter(0.8, _THRESHOLD, "how steep a pixel is that begins an edge")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SharpEdges(Pictures):
    """The edges of pictures that are not blurred first, white on black, as OpenCV finds them by Canny's method."""

    pictures: Pictures = link(Pictures)
    low_threshold: int = parameter(100, _BYTE, "how steep a pixel is that carries an edge on")
    high_threshold: int = parameter(200, _BYTE, "how steep a pixel is that begins an edge")
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scribble(Pictures):
    """White where pictures are light in all colours, black where they have lines."""

    pictures: Pictures = link(Pictures)
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScribbleOfDifferences(Pictures):
    """White lines where pictures are darker than around, by a difference of Gaussians."""

    pictures: Pictures = link(Pictures)
    threshold: int = parameter(32, WholeNumber(1, 64), "how dark a line is, doubled, of 255")
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Binary(Pictures):
    """White where pictures are light, else black."""

    pictures: Pictures = link(Pictures)
    threshold: int = parameter(100, _BYTE, "the grey above which it is white; 0 and 255: each picture's own, by Otsu")
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LineArt(Pictures):
    """The lines of pictures, white on black, the stronger the whiter."""

    pictures: Pictures = link(Pictures)
    sigma: float = parameter(6.0, Number(0, 100), "within how many pixels a line is darker than what is around it")
    threshold: int = parameter(8, WholeNumber(0, 16), "how much darker lines are that count for their usual strength")
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ColourBlocks(Pictures):
    """The colours of pictures in blocks of 64 × 64 pixels."""

    pictures: Pictures = link(Pictures)
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Lightness(Pictures):
    """How light pictures are, as grey."""

    pictures: Pictures = link(Pictures)
    measure: str = parameter("luminance", OneOf(("luminance", "intensity")), "lightness, or the strongest colour")
    gamma: float = parameter(1.0, _GAMMA, "the power to which it is taken")
    resolution: int = parameter(512, _RESOLUTION, _SHORTER)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Tile(Pictures):
    """Pictures without their fine detail, their sides brought to multiples of 64 pixels."""

    pictures: Pictures = link(Pictures)
    halvings: int = parameter(3, WholeNumber(1, 10), "how often their sides are halved to lose it")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Hollowed(Pictures):
    """Pictures with -1, or black, where a mask says that they are to be painted, for ControlNets that inpaint."""

    pictures: Pictures = link(Pictures)
    mask: Mask = link(Mask)
    black: bool = parameter(False, Flag(), "whether it is black there rather than -1")
