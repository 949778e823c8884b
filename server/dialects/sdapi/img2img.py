"""A picture that is painted anew, whole or where a mask says so → nodes: how it gets its size, what the sampling starts
from, and how what is made goes back onto the picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from engine.workflow.editing import CompositePictures
from engine.workflow.encoding import CompositeLatentsMasked, Encode, EncodeForInpaint, WithNoiseMask
from engine.workflow.inpainting import FillHole, FittedMask, WithMaskedPicture
from engine.workflow.latents import EmptyLatents, Latents, ResizeLatents
from engine.workflow.masks import CombineMasks
from engine.workflow.pictures import Pictures
from engine.workflow.sampling import NoiseLatents
from server.dialects.sdapi.body import Img2Img
from server.dialects.sdapi.masking import Box, in_cells, mask_of, plain
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.pictures import CROP, FILL, LATENTS, STRETCH, Sized, picture_of
from server.inputs.input import Input

FILLED, ORIGINAL, NOISE, NOTHING = range(4)
CONTENTS = ("fill", "original", "latent noise", "latent nothing")
"""What the masked part starts from, by ``inpainting_fill``, as infotexts call it."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a picture is painted on."""

    body: Img2Img
    width: int
    """Of what is painted, in pixels."""
    height: int
    source: Sized
    """What is painted over: of that size, unless its latents are stretched."""
    original: Sized
    """What the masked part is pasted onto."""
    mask: Sized | None = None
    """The mask of what is painted; None where all of it is."""
    whole_mask: Sized | None = None
    """The mask of the original."""
    box: Box | None = None
    """The part of the original that is painted; None for all of it."""

    def painted(self, first: Pass) -> Pass:
        """Return the sampling of ``first``'s prompts that paints on this."""
        strength = 0.75 if self.body.denoising_strength is None else self.body.denoising_strength
        made = first.painted_over(self._start(first), strength)
        if self.body.initial_noise_multiplier is not None:
            made = made.with_noise(self.body.initial_noise_multiplier)
        if self.mask is None:
            return made
        mask, pictures = plain(self.mask), self.source.pictures
        hole = EncodeForInpaint(pictures=pictures, vae=first.vae, mask=mask, grow_mask_by=0)
        fitted = FittedMask(mask=mask, pictures=pictures)
        return made.steered(lambda prompt: WithMaskedPicture(conditioning=prompt, latents=hole, mask=fitted))

    def finished(self, decoded: Pictures) -> Pictures:
        """Return what is made of the pictures that were painted: where there is a mask, the original has them there."""
        if self.mask is None or self.whole_mask is None:
            return decoded
        made = Sized(pictures=decoded, width=self.width, height=self.height)
        if self.box is None:
            mask = plain(self.whole_mask)
            twice = CombineMasks(below=mask, above=mask, operation="add")
            return CompositePictures(below=self.original.pictures, above=decoded, mask=twice)
        box = self.box
        part = self.whole_mask.part(box.x, box.y, box.width, box.height)
        return CompositePictures(
            below=self.original.pictures,
            above=made.fitted(box.width, box.height, CROP).pictures,
            x=box.x,
            y=box.y,
            mask=plain(part),
        )

    def _start(self, first: Pass) -> Latents:
        if self.mask is None:
            encoded: Latents = Encode(pictures=self.source.pictures, vae=first.vae)
            if self.body.resize_mode == LATENTS:
                encoded = ResizeLatents(latents=encoded, method="bilinear", width=self.width, height=self.height)
            return encoded
        content, cells = self.body.inpainting_fill or FILLED, in_cells(self.mask, self.body)
        pictures = self.source.pictures
        if content == FILLED:
            pictures = FillHole(pictures=pictures, mask=plain(self.mask))
        latents: Latents = Encode(pictures=pictures, vae=first.vae)
        if content in (NOISE, NOTHING):
            empty = EmptyLatents(width=self.width, height=self.height)
            above = NoiseLatents(noise=first.sample.noise, latents=empty) if content == NOISE else empty
            latents = CompositeLatentsMasked(below=latents, above=above, mask=cells)
        return WithNoiseMask(latents=latents, mask=cells)


def canvas_of(body: Img2Img, image: Input, mask: Input | None, box: Box | None, width: int, height: int) -> Canvas:
    """Return the canvas for a picture, of ``width`` × ``height``.

    ``box`` is the part that is painted, where only the masked part is.
    """
    picture, mode = picture_of(image), body.resize_mode or STRETCH
    canvas = Canvas(body=body, width=width, height=height, source=picture, original=picture)
    if mask is None:
        return canvas if mode == LATENTS else dataclasses.replace(canvas, source=picture.fitted(width, height, mode))
    grey = mask_of(mask, body)
    if box is None:
        fitted, grey = picture.fitted(width, height, mode), grey.fitted(width, height, mode)
        return dataclasses.replace(canvas, source=fitted, original=fitted, mask=grey, whole_mask=grey)
    grey = grey.scaled(picture.width, picture.height)
    source, part = (
        each.part(box.x, box.y, box.width, box.height).fitted(width, height, FILL) for each in (picture, grey)
    )
    return dataclasses.replace(canvas, source=source, mask=part, whole_mask=grey, box=box)


def notes_of(body: Img2Img, *, masked: bool, part: bool) -> dict[str, str]:
    """Return what an infotext says of it. ``masked``: whether there is a mask; ``part``: whether only that is
    painted."""
    notes = {"Denoising strength": str(0.75 if body.denoising_strength is None else body.denoising_strength)}
    if body.initial_noise_multiplier not in (None, 1):
        notes["Noise multiplier"] = f"{body.initial_noise_multiplier:g}"
    if not masked:
        return notes
    blur = body.mask_blur if body.mask_blur is not None else body.mask_blur_x
    notes["Mask blur"] = str(4 if blur is None else blur)
    if part:
        notes |= {"Inpaint area": "Only masked", "Masked area padding": str(body.inpaint_full_res_padding or 0)}
    if body.inpainting_mask_invert:
        notes["Mask mode"] = "Inpaint not masked"
    content = body.inpainting_fill or FILLED
    if content != ORIGINAL:
        notes["Masked content"] = CONTENTS[content]
    return notes
