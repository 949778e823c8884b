"""Nodes that make latents of pictures, and nodes for the masks that latents carry."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, OneOf, WholeNumber, parameter
from engine.workflow.latents import MAX_SIDE, Latents
from engine.workflow.masks import Mask
from engine.workflow.models import Vae
from engine.workflow.node import link
from engine.workflow.pictures import OVERLAP, Pictures

SEEN = ("sampled", "latents")
"""What a network sees of latents where a mask keeps them."""

_X_OR_Y = WholeNumber(0, MAX_SIDE, 8)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Encode(Latents):
    """Pictures as latents: the mean of what the VAE finds. Sides are cropped to multiples of 8 around the centre."""

    pictures: Pictures = link(Pictures)
    vae: Vae = link(Vae)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeTiled(Latents):
    """Pictures as latents, encoded three times in overlapping tiles of three shapes, and averaged."""

    pictures: Pictures = link(Pictures)
    vae: Vae = link(Vae)
    tile_size: int = parameter(512, WholeNumber(64, 4096, 64), "side of a tile in pixels")
    overlap: int = parameter(64, OVERLAP, "pixels that neighbouring tiles share")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeForInpaint(Latents):
    """Pictures as latents, made grey where a mask says so, which the latents then carry: what it covers is painted
    anew."""

    pictures: Pictures = link(Pictures)
    vae: Vae = link(Vae)
    mask: Mask = link(Mask)
    grow_mask_by: int = parameter(6, WholeNumber(0, 64), "pixels by which the mask that the latents carry grows")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithNoiseMask(Latents):
    """Latents that are painted anew where a mask says so, and stay elsewhere."""

    latents: Latents = link(Latents)
    mask: Mask = link(Mask)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithKeptLatents(Latents):
    """Latents that are painted anew where a mask says so; elsewhere each prediction is the latents themselves, and no
    noise but the sampler's is added to them."""

    latents: Latents = link(Latents)
    mask: Mask = link(Mask)
    seen: str = parameter(
        "sampled",
        OneOf(SEEN),
        "what the network sees elsewhere: the sampled x; or the latents without noise, of which only its prediction "
        "of the noise is taken",
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CompositeLatentsMasked(Latents):
    """Latents pasted onto others, where a mask says so."""

    below: Latents = link(Latents)
    above: Latents = link(Latents)
    x: int = parameter(0, _X_OR_Y, "the left edge of what is pasted, in pixels")
    y: int = parameter(0, _X_OR_Y, "its upper edge, in pixels")
    resize: bool = parameter(False, Flag(), "whether what is pasted is scaled to the size of what is below first")
    mask: Mask | None = link(Mask, optional=True)
