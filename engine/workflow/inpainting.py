"""Nodes for repainting: how a model follows a mask, and what an inpainting model is shown of the picture."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, parameter
from engine.workflow.latents import Latents
from engine.workflow.masks import Mask
from engine.workflow.models import Model, Vae
from engine.workflow.node import link
from engine.workflow.pictures import Pictures
from engine.workflow.text import Conditioning


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DifferentialDiffusion(Model):
    """A model that repaints a cell of the noise mask from the step on at which its value says so (Levin & Fried 2023,
    arXiv 2306.00950): the larger the value, the earlier."""

    model: Model = link(Model)
    strength: float = parameter(
        1.0, Number(0, 1), "the share of these steps; the rest follows the mask as it is, at 0 all of it"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedMask(Mask):
    """A mask, scaled to the size of pictures and cropped as they are when they are encoded: bilinear, to multiples of 8
    around the centre."""

    mask: Mask = link(Mask)
    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithMaskedPicture(Conditioning):
    """Prompts, with what an inpainting model, whose network takes nine channels, is shown beside x: a picture that is
    grey in the hole, and where the hole is. Other models ignore it."""

    conditioning: Conditioning = link(Conditioning)
    latents: Latents = link(Latents)
    mask: Mask = link(Mask)
    rounded: bool = parameter(True, Flag(), "whether of the mask only zeros and ones are shown")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ShownGrey(Model):
    """A model whose inpainting network, where it is shown no other picture, is shown that all of a grey one is to be
    painted, as a VAE encodes it. Models of other kinds are left as they are."""

    model: Model = link(Model)
    vae: Vae = link(Vae)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FillHole(Pictures):
    """Pictures in which what a mask of their size covers is filled with the blurred colours around it."""

    pictures: Pictures = link(Pictures)
    mask: Mask = link(Mask)
