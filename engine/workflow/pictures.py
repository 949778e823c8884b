"""Nodes for pictures that come in or are decoded, and for what becomes of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, Name, Text, WholeNumber, parameter
from engine.workflow.latents import Latents
from engine.workflow.models import Vae
from engine.workflow.node import Node, link

PICTURE_NAME = Name("the name of a picture that was handed in", optional=False)

TILE_SIZE = WholeNumber(64, 4096, 32)
OVERLAP = WholeNumber(0, 4096, 32)


class Pictures(Node):
    """A batch of pictures, RGB or RGBA."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadPicture(Pictures):
    """A picture that the caller handed in, turned upright; of an animated one, all frames of the first one's size."""

    name: str = parameter(REQUIRED, PICTURE_NAME, "which of the pictures that were handed in")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decode(Pictures):
    """Latents as pixels."""

    latents: Latents = link(Latents)
    vae: Vae = link(Vae)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DecodeTiled(Pictures):
    """Latents as pixels, decoded three times in overlapping tiles of three shapes, and averaged."""

    latents: Latents = link(Latents)
    vae: Vae = link(Vae)
    tile_size: int = parameter(512, TILE_SIZE, "side of a tile in pixels")
    overlap: int = parameter(64, OVERLAP, "pixels that neighbouring tiles share; at most a quarter of a tile counts")


class Output(Node):
    """What becomes of pictures. Only what an output depends on is computed."""

    pictures: Pictures


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SavePictures(Output):
    """Pictures to be kept."""

    pictures: Pictures = link(Pictures)
    prefix: str = parameter("ComfyUI", Text(), "how their files' names begin; may have folders")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ShowPictures(Output):
    """Pictures to be shown, and kept for a while only."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SendPictures(Output):
    """Pictures to be sent to whom the workflow belongs, and not kept."""

    pictures: Pictures = link(Pictures)
