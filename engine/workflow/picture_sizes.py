"""How large pictures, masks and what is encoded of them are: what nodes make of the sizes of their sources.

Knows no tensors and no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from engine.errors import BadRequest
from engine.workflow import editing, encoding, inpainting, masks, pictures, upscaling
from engine.workflow.latents import MAX_BATCH, MAX_SIDE
from engine.workflow.node import Node
from engine.workflow.sizes import PIXELS_PER_CELL, Known, PictureSize, Rule, Size, Sizes, scaled

USUAL_FACTOR = 4
"""By which an upscaler enlarges whose file is not known."""

BLANK_SIDE = 64
"""The side of the mask that a picture without transparency comes with, as in ComfyUI."""


def sides_of(node: Node, size: PictureSize) -> tuple[int, int]:
    """Return height and width in pixels after a node that scales pictures."""
    height, width = size.height, size.width
    if isinstance(node, editing.ScalePictures):
        return scaled(height, node.factor), scaled(width, node.factor)
    if isinstance(node, editing.ScaleToMegapixels):
        factor = math.sqrt(int(node.megapixels * 1024 * 1024) / (width * height))
        return scaled(height, factor), scaled(width, factor)
    assert isinstance(node, editing.ResizePictures)
    if node.width == node.height == 0:
        return height, width
    if node.width == 0:
        return node.height, max(1, round(width * node.height / height))
    if node.height == 0:
        return max(1, round(height * node.width / width)), node.width
    return node.height, node.width


def part_of(node: editing.CropPictures | masks.CropMask, size: PictureSize) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a crop. A picture keeps at least one pixel each way. Raises ``BadRequest``
    for a part of a mask that lies beyond it."""
    top, left = node.y, node.x
    if isinstance(node, editing.CropPictures):
        top, left = min(top, size.height - 1), min(left, size.width - 1)
    for name, place, side in (("x", left, size.width), ("y", top, size.height)):
        if place >= side:
            raise BadRequest(name, place, f"a place within the mask: 0 to {side - 1}")
    return top, left, min(size.height, top + node.height), min(size.width, left + node.width)


def padding_of(node: editing.PadPictures | masks.PaddingMask) -> tuple[int, int, int, int]:
    """Return the pixels that are added at the left, at the right, above and below."""
    return node.left, node.right, node.top, node.bottom


def input_size(node: Node, known: Known) -> PictureSize:
    """Return the size of what a node loads of an input picture. Raises ``BadRequest`` for an unknown one."""
    assert isinstance(node, LOADED)
    size = dict(known.pictures).get(node.name)
    if size is None:
        names = ", ".join(name for name, _ in known.pictures) or "there are none"
        raise BadRequest("name", node.name, f"the name of a picture that was handed in: {names}")
    if isinstance(node, masks.LoadMask):
        return replace(size, pictures=1, alpha=False)
    if isinstance(node, masks.LoadTransparency) and not size.alpha:
        return PictureSize(pictures=size.pictures, height=BLANK_SIDE, width=BLANK_SIDE)
    return replace(size, alpha=False)


LOADED = (pictures.LoadPicture, masks.LoadMask, masks.LoadTransparency)
"""The nodes for what a caller hands in."""


def upscaled_size(node: upscaling.Upscale, sizes: Sizes, known: Known) -> PictureSize:
    """Return the size of enlarged pictures. Raises ``BadRequest`` for pictures with transparency."""
    size: PictureSize = sizes[node.pictures]
    if size.alpha:
        raise BadRequest("pictures", "pictures with transparency", "RGB pictures")
    assert isinstance(node.upscaler, upscaling.UpscalerFile)
    factor = dict(known.factors).get(node.upscaler.name, USUAL_FACTOR)
    return replace(size, height=size.height * factor, width=size.width * factor)


def _decoded(node: pictures.Decode | pictures.DecodeTiled, sizes: Sizes) -> PictureSize:
    size = sizes[node.latents]
    width, height = size.pixels
    return PictureSize(pictures=size.pictures, height=height, width=width)


def _empty(node: editing.EmptyPictures, _: Sizes) -> PictureSize:
    return PictureSize(pictures=node.batch_size, height=node.height, width=node.width)


def _rescaled(
    node: editing.ResizePictures | editing.ScalePictures | editing.ScaleToMegapixels, sizes: Sizes
) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    height, width = sides_of(node, size)
    return replace(size, height=height, width=width)


def _cropped(node: editing.CropPictures, sizes: Sizes) -> PictureSize:
    top, left, bottom, right = part_of(node, sizes[node.pictures])
    size: PictureSize = sizes[node.pictures]
    return replace(size, height=bottom - top, width=right - left)


def _resized_mask(node: masks.ResizeMask, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.mask]
    return replace(size, height=node.height, width=node.width)


def _extended(node: editing.ExtendPictures, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    for name, side, least in (("width", node.width, size.width), ("height", node.height, size.height)):
        if side < least:
            raise BadRequest(name, side, f"at least the pictures' {least} pixels")
    return replace(size, height=node.height, width=node.width)


def _cropped_mask(node: masks.CropMask, sizes: Sizes) -> PictureSize:
    top, left, bottom, right = part_of(node, sizes[node.mask])
    size: PictureSize = sizes[node.mask]
    return replace(size, height=bottom - top, width=right - left)


def _padded(node: editing.PadPictures, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    left, right, top, bottom = padding_of(node)
    return replace(size, height=size.height + top + bottom, width=size.width + left + right)


def _padding(node: masks.PaddingMask, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    left, right, top, bottom = padding_of(node)
    return PictureSize(pictures=1, height=size.height + top + bottom, width=size.width + left + right)


def _joined(node: editing.JoinPictures, sizes: Sizes) -> PictureSize:
    first, second = sizes[node.first], sizes[node.second]
    size: PictureSize = first
    return replace(size, pictures=first.pictures + second.pictures, alpha=first.alpha or second.alpha)


def _blended(node: editing.BlendPictures, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.first]
    return replace(size, alpha=size.alpha or sizes[node.second].alpha)


def _repeated(node: editing.RepeatPictures, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    return replace(size, pictures=size.pictures * node.amount)


def _some(node: editing.PicturesFromBatch, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    first = min(node.index, size.pictures - 1)
    return replace(size, pictures=min(node.length, size.pictures - first))


def _pasted_under(node: editing.PastedUnder, sizes: Sizes) -> PictureSize:
    pictures, original = sizes[node.pictures], sizes[node.original]
    _check_count("original", original, pictures)
    _check_count("mask", sizes[node.mask], pictures)
    return PictureSize(pictures=pictures.pictures, height=original.height, width=original.width)


def _transparent(node: editing.WithTransparency, sizes: Sizes) -> PictureSize:
    size: PictureSize = sizes[node.pictures]
    return replace(size, pictures=min(size.pictures, sizes[node.mask].pictures), alpha=True)


def _opaque(node: Node, sizes: Sizes) -> PictureSize:
    size: PictureSize = next(sizes[source] for source in node.sources())
    return replace(size, alpha=False)


def _channel(node: masks.ChannelMask, sizes: Sizes) -> PictureSize:
    if node.channel == "alpha" and not sizes[node.pictures].alpha:
        raise BadRequest("channel", node.channel, "a channel that the pictures have: red, green or blue")
    return _opaque(node, sizes)


def _solid(node: masks.SolidMask, _: Sizes) -> PictureSize:
    return PictureSize(pictures=1, height=node.height, width=node.width)


def _combined(node: masks.CombineMasks, sizes: Sizes) -> PictureSize:
    below: PictureSize = sizes[node.below]
    _check_count("above", sizes[node.above], below)
    return below


def _encoded(node: encoding.Encode | encoding.EncodeTiled | encoding.EncodeForInpaint, sizes: Sizes) -> Size:
    size: PictureSize = sizes[node.pictures]
    height, width = _cells(size)
    if isinstance(node, encoding.EncodeTiled):
        _check_tiles(node, size)
    elif isinstance(node, encoding.EncodeForInpaint):
        _check_count("mask", sizes[node.mask], size)
    return Size(pictures=size.pictures, height=height, width=width)


def _fitted(node: inpainting.FittedMask, sizes: Sizes) -> PictureSize:
    size, mask = sizes[node.pictures], sizes[node.mask]
    _check_count("mask", mask, size)
    height, width = (cells * PIXELS_PER_CELL for cells in _cells(size))
    return PictureSize(pictures=mask.pictures, height=height, width=width)


def _cells(size: PictureSize) -> tuple[int, int]:
    """Height and width of what is encoded of pictures, in cells. Raises ``BadRequest`` for pictures without a whole
    cell."""
    if min(size.height, size.width) < PIXELS_PER_CELL:
        raise BadRequest("pictures", f"{size.width} × {size.height}", "pictures of at least 8 × 8 pixels")
    return size.height // PIXELS_PER_CELL, size.width // PIXELS_PER_CELL


def _filled(node: inpainting.FillHole, sizes: Sizes) -> PictureSize:
    _check_count("mask", sizes[node.mask], sizes[node.pictures])
    return _opaque(node, sizes)


def _check_tiles(node: encoding.EncodeTiled, size: PictureSize) -> None:
    """Raise ``BadRequest`` where tiles would consist of nothing but overlap."""
    narrow = node.tile_size // 2
    if narrow <= node.overlap and max(size.height, size.width) > narrow:
        raise BadRequest("overlap", node.overlap, f"less than {narrow}, half of the tile size")


def _check_count(field: str, size: PictureSize, other: PictureSize) -> None:
    if size.pictures not in (1, other.pictures):
        allowed = "one mask" if other.pictures == 1 else f"one mask, or {other.pictures} of them"
        raise BadRequest(field, f"{size.pictures} masks", allowed)


def check_limits(node: Node, size: PictureSize | Size) -> None:
    """Raise ``BadRequest`` for more pictures, or larger ones, than any node may make."""
    width, height = size.pixels
    if size.pictures > MAX_BATCH:
        raise BadRequest("batch_size", size.pictures, f"at most {MAX_BATCH} pictures at once", node=node)
    if max(width, height) > MAX_SIDE:
        raise BadRequest("width", f"{width} × {height}", f"sides of at most {MAX_SIDE} pixels", node=node)


RULES: Mapping[type[Node], Rule] = {
    pictures.Decode: _decoded,
    pictures.DecodeTiled: _decoded,
    editing.EmptyPictures: _empty,
    editing.ResizePictures: _rescaled,
    editing.ScalePictures: _rescaled,
    editing.ScaleToMegapixels: _rescaled,
    editing.CropPictures: _cropped,
    editing.PadPictures: _padded,
    editing.ExtendPictures: _extended,
    editing.JoinPictures: _joined,
    editing.RepeatPictures: _repeated,
    editing.PicturesFromBatch: _some,
    editing.BlendPictures: _blended,
    editing.PastedUnder: _pasted_under,
    editing.WithTransparency: _transparent,
    editing.WithoutTransparency: _opaque,
    editing.MaskPictures: _opaque,
    masks.ChannelMask: _channel,
    masks.BrightnessMask: _opaque,
    masks.TransparencyMask: _opaque,
    masks.ColourMask: _opaque,
    masks.PaddingMask: _padding,
    masks.SolidMask: _solid,
    masks.ResizeMask: _resized_mask,
    masks.CropMask: _cropped_mask,
    inpainting.FittedMask: _fitted,
    inpainting.FillHole: _filled,
    masks.CombineMasks: _combined,
    encoding.Encode: _encoded,
    encoding.EncodeTiled: _encoded,
    encoding.EncodeForInpaint: _encoded,
}
"""How the nodes that change the size of pictures and masks do so."""
