"""A picture of which AUTOMATIC1111 paints a part anew → the nodes for what that starts from, what a network is shown of
it, and what becomes of the rest. Knows no request and no sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.workflow.editing import CompositePictures, MaskPictures, PastedUnder
from engine.workflow.encoding import CompositeLatentsMasked, Encode
from engine.workflow.inpainting import FillHole, WithMaskedPicture
from engine.workflow.latents import EmptyLatents, Latents
from engine.workflow.masks import CombineMasks, Mask, ResizeMask, SolidMask, ThresholdMask
from engine.workflow.models import Vae
from engine.workflow.pictures import Pictures
from engine.workflow.sampling import Noise, NoiseLatents
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.text import Conditioning

FILLED, ORIGINAL, NOISE, NOTHING = range(4)
"""What the masked part starts from: the colours around it, itself, latent noise, zeros."""


@dataclass(frozen=True, kw_only=True)
class Inpainting:
    """A picture, and the mask of what is painted anew."""

    pictures: Pictures
    mask: Mask
    """Of the same size, 0 … 1, blurred."""
    width: int
    """In pixels, a multiple of 8."""
    height: int
    content: int = FILLED
    rounded: bool = True
    """Whether a latent cell is painted anew whole or not at all."""

    @property
    def cells(self) -> Mask:
        """The mask with a value for each latent cell."""
        cells = ResizeMask(mask=self.mask, **_in_cells(self.width, self.height))
        return ThresholdMask(mask=cells) if self.rounded else cells

    @property
    def source(self) -> Pictures:
        """What is encoded: the picture, its masked part filled unless it is painted over as it is."""
        return self.pictures if self.content == ORIGINAL else FillHole(pictures=self.pictures, mask=self.mask)

    def start(self, vae: Vae, noise: Noise) -> Latents:
        """Return the latents that sampling begins from; ``noise`` is that of the seeds alone."""
        latents = Encode(pictures=self.source, vae=vae)
        if self.content not in (NOISE, NOTHING):
            return latents
        empty = EmptyLatents(width=self.width, height=self.height)
        above = NoiseLatents(noise=noise, latents=empty) if self.content == NOISE else empty
        return CompositeLatentsMasked(below=latents, above=above, mask=self.cells)

    def shown(self, prompt: Conditioning, vae: Vae, weight: float) -> Conditioning:
        """Return ``prompt`` with the picture for inpainting networks, of which ``weight`` of the masked part is
        grey."""
        mask = ThresholdMask(mask=self.mask) if self.rounded else self.mask
        return shown(prompt, self.source, mask, vae, (self.width, self.height), weight)


def shown(
    prompt: Conditioning, pictures: Pictures, mask: Mask | None, vae: Vae, size: tuple[int, int], weight: float
) -> Conditioning:
    """Return ``prompt`` with ``pictures`` for inpainting networks, made grey by ``weight`` where ``mask`` says so, or
    everywhere. ``size``: their width and height in pixels."""
    sides = dict(zip(("width", "height"), size, strict=True))
    hidden = SolidMask(value=1.0, **sides) if mask is None else mask
    greyed = hidden
    if weight < 1:
        greyed = CombineMasks(below=hidden, above=SolidMask(value=weight, **sides), operation="multiply")
    grey = MaskPictures(mask=SolidMask(value=0.5, **sides))
    latents = Encode(pictures=CompositePictures(below=pictures, above=grey, mask=greyed), vae=vae)
    cells = ResizeMask(mask=hidden, method="nearest", **_in_cells(*size))
    return WithMaskedPicture(conditioning=prompt, latents=latents, mask=cells, rounded=False)


def overlaid(pictures: Pictures, original: Pictures, mask: Mask) -> Pictures:
    """Return ``original`` with the pictures that were painted where ``mask``, of the same size, is at least a half, and
    a share of them where it is less."""
    twice = CombineMasks(below=mask, above=mask, operation="add")
    return PastedUnder(original=original, pictures=pictures, mask=twice)


def _in_cells(width: int, height: int) -> dict[str, Any]:
    return {"width": width // PIXELS_PER_CELL, "height": height // PIXELS_PER_CELL}
