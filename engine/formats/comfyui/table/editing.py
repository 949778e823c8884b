"""Rows for the classes that make pictures of pictures."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Made, made
from engine.workflow import editing as nodes
from engine.workflow import masks

_HUNDREDTHS = {"step": 0.01}
_SIDES = ("left", "top", "right", "bottom")
_PADDING = {name: name for name in (*_SIDES, "feathering")}
_COLOUR = Other("color", hints={"display": "color"})


def _image(
    class_type: str, display_name: str, category: str, description: str, template: Made, *inputs: str | Other
) -> Row:
    """A row whose one output is pictures."""
    outputs = (output("IMAGE", template),)
    return row(class_type, display_name, category, description, inputs=inputs, outputs=outputs)


ROWS = (
    _image(
        "EmptyImage",
        "EmptyImage",
        "image",
        "Makes pictures of one colour.",
        made(nodes.EmptyPictures, width="width", height="height", batch_size="batch_size", colour="color"),
        *("width", "height", "batch_size", _COLOUR),
    ),
    _image(
        "ImageScale",
        "Upscale Image",
        "image/upscaling",
        "Scales pictures to a size.",
        made(
            nodes.ResizePictures,
            pictures="image",
            method="upscale_method",
            width="width",
            height="height",
            crop="crop",
        ),
        *("image", "upscale_method", "width", "height", "crop"),
    ),
    _image(
        "ImageScaleBy",
        "Upscale Image By",
        "image/upscaling",
        "Scales pictures by a factor.",
        made(nodes.ScalePictures, pictures="image", method="upscale_method", factor="scale_by"),
        *("image", "upscale_method", Other("scale_by", hints=_HUNDREDTHS)),
    ),
    _image(
        "ImageScaleToTotalPixels",
        "Scale Image to Total Pixels",
        "image/upscaling",
        "Scales pictures to a number of pixels.",
        made(nodes.ScaleToMegapixels, pictures="image", method="upscale_method", megapixels="megapixels"),
        *("image", "upscale_method", Other("megapixels", hints=_HUNDREDTHS)),
    ),
    _image(
        "ImageInvert",
        "Invert Image",
        "image",
        "Makes negatives.",
        made(nodes.InvertPictures, pictures="image"),
        "image",
    ),
    _image(
        "ImageBlur",
        "ImageBlur",
        "image/postprocessing",
        "Blurs pictures.",
        made(nodes.BlurPictures, pictures="image", radius="blur_radius", sigma="sigma"),
        *("image", "blur_radius", Other("sigma", hints={"step": 0.1})),
    ),
    _image(
        "ImageSharpen",
        "ImageSharpen",
        "image/postprocessing",
        "Sharpens pictures.",
        made(nodes.SharpenPictures, pictures="image", radius="sharpen_radius", sigma="sigma", amount="alpha"),
        *("image", "sharpen_radius", Other("sigma", hints=_HUNDREDTHS), Other("alpha", hints=_HUNDREDTHS)),
    ),
    _image(
        "ImageBlend",
        "ImageBlend",
        "image/postprocessing",
        "Mixes pictures.",
        made(nodes.BlendPictures, first="image1", second="image2", factor="blend_factor", mode="blend_mode"),
        *("image1", "image2", Other("blend_factor", hints=_HUNDREDTHS), "blend_mode"),
    ),
    _image(
        "ImageBatch",
        "Batch Images",
        "image",
        "Makes one batch of two; the second is scaled to the first's size.",
        made(nodes.JoinPictures, first="image1", second="image2"),
        *("image1", "image2"),
    ),
    _image(
        "RepeatImageBatch",
        "RepeatImageBatch",
        "image/batch",
        "Repeats a batch.",
        made(nodes.RepeatPictures, pictures="image", amount="amount"),
        *("image", "amount"),
    ),
    _image(
        "ImageFromBatch",
        "ImageFromBatch",
        "image/batch",
        "Takes some of a batch.",
        made(nodes.PicturesFromBatch, pictures="image", index="batch_index", length="length"),
        *("image", "batch_index", "length"),
    ),
    _image(
        "ImageCrop",
        "Image Crop",
        "image/transform",
        "Takes a part of pictures.",
        made(nodes.CropPictures, pictures="image", width="width", height="height", x="x", y="y"),
        *("image", "width", "height", "x", "y"),
    ),
    row(
        "ExtendImage",
        "Extend Image",
        "image",
        "Puts pictures in the middle of a larger canvas, up to whose border their edges go on.",
        inputs=("image", "width", "height"),
        outputs=(output("IMAGE", made(nodes.ExtendPictures, pictures="image", width="width", height="height")),),
        ours=True,
    ),
    row(
        "ImagePadForOutpaint",
        "Pad Image for Outpainting",
        "image",
        "Adds grey around pictures, and makes the mask of what is to be painted.",
        inputs=("image", *(Other(side, hints={"step": 8}) for side in _SIDES), "feathering"),
        outputs=(
            output("IMAGE", made(nodes.PadPictures, pictures="image", **_PADDING)),
            output("MASK", made(masks.PaddingMask, pictures="image", **_PADDING)),
        ),
    ),
    _image(
        "ImageCompositeMasked",
        "ImageCompositeMasked",
        "image",
        "Pastes pictures onto others, where a mask says so.",
        made(
            nodes.CompositePictures,
            below="destination",
            above="source",
            x="x",
            y="y",
            resize="resize_source",
            mask="mask",
        ),
        *("destination", "source", "x", "y", "resize_source", Other("mask", optional=True)),
    ),
    _image(
        "JoinImageWithAlpha",
        "Join Image with Alpha",
        "mask/compositing",
        "Gives pictures a mask as their transparency.",
        made(nodes.WithTransparency, pictures="image", mask="alpha"),
        *("image", "alpha"),
    ),
    row(
        "SplitImageWithAlpha",
        "Split Image with Alpha",
        "mask/compositing",
        "Splits pictures into their colours and their transparency.",
        inputs=("image",),
        outputs=(
            output("IMAGE", made(nodes.WithoutTransparency, pictures="image")),
            output("MASK", made(masks.TransparencyMask, pictures="image")),
        ),
    ),
    _image(
        "MaskToImage",
        "Convert Mask to Image",
        "mask",
        "Shows masks as grey pictures.",
        made(nodes.MaskPictures, mask="mask"),
        "mask",
    ),
)
