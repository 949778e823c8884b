"""A picture that is painted anew, whole or where a mask says so → nodes: how it gets its size, what the sampling starts
from, and how what is made goes back onto the picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from engine import GenerationRequest
from engine.request_a1111 import A1111
from engine.workflow.a1111 import PictureNoise
from engine.workflow.a1111_inpainting import FILLED, ORIGINAL, Inpainting, overlaid, shown
from engine.workflow.editing import PastedUnder
from engine.workflow.encoding import Encode
from engine.workflow.latents import Latents, ResizeLatents
from engine.workflow.pictures import Pictures
from engine.workflow.sampling import Noise
from server.dialects.sdapi.body import Img2Img
from server.dialects.sdapi.masking import Box, blur_of, is_rounded, mask_of, plain
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.pictures import CROP, FILL, LATENTS, STRETCH, Sized, picture_of
from server.inputs.input import Input

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
    part: A1111 | None = None
    """What asks for AUTOMATIC1111's picture."""
    seed: int = 0
    """Of the noise that the masked part starts from, where that is AUTOMATIC1111's."""

    def painted(self, first: Pass) -> Pass:
        """Return the sampling of ``first``'s prompts that paints on this."""
        made, multiplier = self._painted(first), self.body.initial_noise_multiplier
        return made if multiplier is None else made.with_noise(multiplier)

    def _painted(self, first: Pass) -> Pass:
        strength = 0.75 if self.body.denoising_strength is None else self.body.denoising_strength
        weight = 1.0 if self.part is None else self.part.inpainting_mask_weight
        if self.mask is None:
            made = first.painted_over(self._start(first), strength)
            if weight == 1:
                return made
            source, size = self.source.pictures, (self.width, self.height)
            return made.steered(lambda prompt: shown(prompt, source, None, first.vae, size, weight))
        inpainting = Inpainting(
            pictures=self.source.pictures,
            mask=plain(self.mask),
            width=self.width,
            height=self.height,
            content=self.body.inpainting_fill or FILLED,
            rounded=is_rounded(self.body),
        )
        start = inpainting.start(first.vae, self._content_noise(first))
        made = first.painted_over(start, strength, cells=inpainting.cells)
        return made.steered(lambda prompt: inpainting.shown(prompt, first.vae, weight))

    def _content_noise(self, first: Pass) -> Noise:
        """Return the noise that the masked part starts from: that of the seeds alone, without variation."""
        noise = first.sample.noise
        if not isinstance(noise, PictureNoise):
            return noise
        return dataclasses.replace(noise, seed=self.seed, variation_strength=0.0, from_width=0, from_height=0)

    def finished(self, decoded: Pictures) -> Pictures:
        """Return what is made of the pictures that were painted: where there is a mask, the original has them there."""
        if self.mask is None or self.whole_mask is None or not (self.part is None or self.part.overlay_inpaint):
            return decoded
        made = Sized(pictures=decoded, width=self.width, height=self.height)
        if self.box is None:
            return overlaid(decoded, self.original.pictures, plain(self.whole_mask))
        box = self.box
        return PastedUnder(
            original=self.original.pictures,
            pictures=made.fitted(box.width, box.height, CROP).pictures,
            mask=plain(self.whole_mask),
            x=box.x,
            y=box.y,
        )

    def _start(self, first: Pass) -> Latents:
        encoded: Latents = Encode(pictures=self.source.pictures, vae=first.vae)
        if self.body.resize_mode == LATENTS:
            encoded = ResizeLatents(latents=encoded, method="bilinear", width=self.width, height=self.height)
        return encoded


def canvas_of(
    body: Img2Img, image: Input, mask: Input | None, box: Box | None, request: GenerationRequest, seed: int
) -> Canvas:
    """Return the canvas for a picture that ``request`` paints over.

    ``box`` is the part that is painted, where only the masked part is; ``seed`` that of the noise that it starts from.
    """
    picture, mode, width, height = picture_of(image), body.resize_mode or STRETCH, request.width, request.height
    canvas = Canvas(
        body=body, width=width, height=height, source=picture, original=picture, part=request.a1111, seed=seed
    )
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
    if body.inpainting_mask_invert:
        notes["Mask mode"] = "Inpaint not masked"
    x, y = blur_of(body)
    if x == y and x:
        notes["Mask blur"] = str(x)
    if part:
        notes |= {"Inpaint area": "Only masked", "Masked area padding": str(body.inpaint_full_res_padding or 0)}
    content = body.inpainting_fill or FILLED
    if content != ORIGINAL:
        notes["Masked content"] = CONTENTS[content]
    return notes
