"""A mask that a caller handed in → nodes; and the part of the picture that it covers."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from engine.workflow.editing import MaskPictures
from engine.workflow.masks import (
    BlurMask,
    BrightnessMask,
    ChannelMask,
    InvertMask,
    LoadTransparency,
    Mask,
    ThresholdMask,
)
from server.dialects.sdapi.body import Img2Img
from server.dialects.sdapi.pictures import Sized, picture_of
from server.inputs.input import Input

_OPAQUE = 128 / 255
"""The alpha above which a pixel of a transparent mask counts."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


def mask_of(input: Input, body: Img2Img) -> Sized:
    """Return the blurred mask as a grey picture: white where the picture is painted anew."""
    size = input.size
    mask: Mask = BrightnessMask(pictures=picture_of(input).pictures)
    if size.alpha:
        mask = InvertMask(mask=LoadTransparency(name=input.id))
        mask = ThresholdMask(mask=mask, value=_OPAQUE) if is_rounded(body) else mask
    if body.inpainting_mask_invert:
        mask = InvertMask(mask=mask)
    x, y = blur_of(body)
    mask = BlurMask(mask=mask, x=x, y=y) if x or y else mask
    return Sized(pictures=MaskPictures(mask=mask), width=size.width, height=size.height)


def plain(grey: Sized) -> Mask:
    """Return a grey picture as a mask."""
    return ChannelMask(pictures=grey.pictures, channel="red")


def masked_part(file: bytes, input: Input, body: Img2Img, width: int, height: int, padding: int) -> Box | None:
    """Return the part of a picture of ``width`` × ``height`` that the mask in ``file`` covers, with ``padding`` around
    it, grown to the aspect ratio that is painted; None where the mask covers nothing."""
    import numpy  # which a server that draws no pictures itself does without until here

    from engine.pictures.blurring import blurred
    from engine.pictures.inputs import read_input

    picture = read_input("", [{"": file}])
    grey = numpy.asarray(Image.fromarray(picture.pixels[0]).convert("L"))
    if input.size.alpha and picture.alpha is not None:
        grey = picture.alpha[0]
        grey = numpy.where(grey > 255 * _OPAQUE, 255, 0).astype(numpy.uint8) if is_rounded(body) else grey
    grey = blurred(255 - grey if body.inpainting_mask_invert else grey, *blur_of(body))
    covered = Image.fromarray(numpy.ascontiguousarray(grey))
    if covered.size != (width, height):
        covered = covered.resize((width, height), Image.Resampling.LANCZOS)
    found = covered.getbbox()
    if found is None:
        return None
    left, right = max(0, found[0] - padding), min(width, found[2] + padding)
    top, bottom = max(0, found[1] - padding), min(height, found[3] + padding)
    return Box(x=left, y=top, width=right - left, height=bottom - top)


def grown_to_aspect(box: Box, shape: tuple[int, int], bounds: tuple[int, int]) -> Box:
    """Return ``box`` with its shorter side grown to the aspect ratio of ``shape``, as far as ``bounds`` let it.

    Both are width and height.
    """
    wanted = shape[0] / shape[1]
    if box.width / box.height > wanted:
        y, height = _grown(box.y, box.height, int(box.width / wanted), bounds[1])
        return Box(x=box.x, y=y, width=box.width, height=height)
    x, width = _grown(box.x, box.width, int(box.height * wanted), bounds[0])
    return Box(x=x, y=box.y, width=width, height=box.height)


def _grown(start: int, length: int, wanted: int, bound: int) -> tuple[int, int]:
    """Return where a side starts and its length once it has grown both ways, within 0 and ``bound``."""
    length, more = min(wanted, bound), wanted - length
    return max(0, min(start - more // 2, bound - length)), length


def is_rounded(body: Img2Img) -> bool:
    """Return whether a latent cell is painted anew whole or not at all."""
    return body.mask_round is not False


def blur_of(body: Img2Img) -> tuple[int, int]:
    """Return the standard deviations, in pixels, by which a mask is blurred along the width and the height."""
    if body.mask_blur is not None:
        return body.mask_blur, body.mask_blur
    return (4 if body.mask_blur_x is None else body.mask_blur_x), (4 if body.mask_blur_y is None else body.mask_blur_y)
