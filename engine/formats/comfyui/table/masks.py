"""Rows for the classes that make and change masks, and for those that hand them to latents."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Made, made
from engine.workflow import encoding
from engine.workflow import masks as nodes

_HUNDREDTHS = {"step": 0.01}
_COLOUR = Other("color", hints={"display": "color"})


def _mask(
    class_type: str, display_name: str, description: str, template: Made, *inputs: str | Other, ours: bool = False
) -> Row:
    """A row whose one output is masks."""
    outputs = (output("MASK", template),)
    return row(class_type, display_name, "mask", description, inputs=inputs, outputs=outputs, ours=ours)


ROWS = (
    _mask(
        "ImageToMask",
        "Convert Image to Mask",
        "Takes a channel of pictures as a mask.",
        made(nodes.ChannelMask, pictures="image", channel="channel"),
        *("image", "channel"),
    ),
    _mask(
        "ImageColorToMask",
        "ImageColorToMask",
        "Makes a mask of where pictures have a colour.",
        made(nodes.ColourMask, pictures="image", colour="color"),
        *("image", _COLOUR),
    ),
    _mask(
        "BrightnessToMask",
        "Convert Brightness to Mask",
        "Takes the brightness of pictures as a mask.",
        made(nodes.BrightnessMask, pictures="image"),
        "image",
        ours=True,
    ),
    _mask(
        "SolidMask",
        "SolidMask",
        "Makes a mask of one value.",
        made(nodes.SolidMask, value="value", width="width", height="height"),
        *(Other("value", hints=_HUNDREDTHS), "width", "height"),
    ),
    _mask("InvertMask", "InvertMask", "Inverts masks.", made(nodes.InvertMask, mask="mask"), "mask"),
    _mask(
        "ScaleMask",
        "Scale Mask",
        "Scales masks.",
        made(nodes.ResizeMask, mask="mask", method="method", width="width", height="height"),
        *("mask", "method", "width", "height"),
        ours=True,
    ),
    _mask(
        "CropMask",
        "CropMask",
        "Takes a part of masks.",
        made(nodes.CropMask, mask="mask", x="x", y="y", width="width", height="height"),
        *("mask", "x", "y", "width", "height"),
    ),
    _mask(
        "MaskComposite",
        "MaskComposite",
        "Lays masks onto others.",
        made(nodes.CombineMasks, below="destination", above="source", x="x", y="y", operation="operation"),
        *("destination", "source", "x", "y", "operation"),
    ),
    _mask(
        "FeatherMask",
        "FeatherMask",
        "Lets masks fade at their sides.",
        made(nodes.FeatherMask, mask="mask", left="left", top="top", right="right", bottom="bottom"),
        *("mask", "left", "top", "right", "bottom"),
    ),
    _mask(
        "GrowMask",
        "Grow Mask",
        "Lets the bright parts of masks grow or shrink.",
        made(nodes.GrowMask, mask="mask", expand="expand", tapered_corners="tapered_corners"),
        *("mask", "expand", "tapered_corners"),
    ),
    _mask(
        "BlurMask",
        "Blur Mask",
        "Blurs masks.",
        made(nodes.BlurMask, mask="mask", x="x", y="y"),
        *("mask", "x", "y"),
        ours=True,
    ),
    _mask(
        "ThresholdMask",
        "ThresholdMask",
        "Makes masks of zeros and ones.",
        made(nodes.ThresholdMask, mask="mask", value="value"),
        *("mask", Other("value", hints=_HUNDREDTHS)),
    ),
    row(
        "SetLatentNoiseMask",
        "Set Latent Noise Mask",
        "latent/inpaint",
        "Has latents painted anew where the mask says so.",
        inputs=("samples", "mask"),
        outputs=(output("LATENT", made(encoding.WithNoiseMask, latents="samples", mask="mask")),),
    ),
    row(
        "SetLatentKeepMask",
        "Set Latent Keep Mask",
        "latent/inpaint",
        "Has latents painted anew where the mask says so, and keeps them elsewhere, as AUTOMATIC1111 does.",
        inputs=("samples", "mask", "seen"),
        outputs=(output("LATENT", made(encoding.WithKeptLatents, latents="samples", mask="mask", seen="seen")),),
        ours=True,
    ),
    row(
        "LatentCompositeMasked",
        "LatentCompositeMasked",
        "latent",
        "Pastes latents onto others, where a mask says so.",
        inputs=("destination", "source", "x", "y", "resize_source", Other("mask", optional=True)),
        outputs=(
            output(
                "LATENT",
                made(
                    encoding.CompositeLatentsMasked,
                    below="destination",
                    above="source",
                    x="x",
                    y="y",
                    resize="resize_source",
                    mask="mask",
                ),
            ),
        ),
    ),
)
