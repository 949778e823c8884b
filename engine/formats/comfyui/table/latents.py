"""Rows for the classes that make, scale, turn and combine latents."""

from __future__ import annotations

from typing import Any

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Made, made
from engine.workflow import latents as nodes

_HUNDREDTHS = {"step": 0.01}


def _latent(
    class_type: str, display_name: str, category: str, description: str, template: Made, *inputs: str | Other
) -> Row:
    """A row whose one output is latents."""
    outputs = (output("LATENT", template),)
    return row(class_type, display_name, category, description, inputs=inputs, outputs=outputs)


def _pair(class_type: str, description: str, node: Any, *inputs: str | Other, **fields: str) -> Row:
    """A row that makes latents of two."""
    display_name, category = class_type, "latent/advanced"
    if class_type in ("LatentBatch", "LatentBlend"):
        display_name, category = class_type.replace("Latent", "Latent "), "latent/batch"
    if class_type == "LatentBlend":
        category = "_for_testing"
    template = made(node, first="samples1", second="samples2", **fields)
    return _latent(class_type, display_name, category, description, template, "samples1", "samples2", *inputs)


ROWS = (
    _latent(
        "EmptyLatentImage",
        "Empty Latent Image",
        "latent",
        "Sets the size and the number of the pictures.",
        made(nodes.EmptyLatents, width="width", height="height", batch_size="batch_size"),
        *("width", "height", "batch_size"),
    ),
    _latent(
        "LatentUpscale",
        "Upscale Latent",
        "latent",
        "Scales latents to a size.",
        made(
            nodes.ResizeLatents, latents="samples", method="upscale_method", width="width", height="height", crop="crop"
        ),
        *("samples", "upscale_method", Other("width", hints={"step": 8}), Other("height", hints={"step": 8}), "crop"),
    ),
    _latent(
        "LatentUpscaleBy",
        "Upscale Latent By",
        "latent",
        "Scales latents by a factor.",
        made(nodes.ScaleLatents, latents="samples", method="upscale_method", factor="scale_by"),
        *("samples", "upscale_method", Other("scale_by", hints=_HUNDREDTHS)),
    ),
    _latent(
        "LatentFromBatch",
        "Latent From Batch",
        "latent/batch",
        "Takes some of a batch, which begin from the noise that they have in the whole batch.",
        made(nodes.LatentsFromBatch, latents="samples", index="batch_index", length="length"),
        *("samples", "batch_index", "length"),
    ),
    _latent(
        "RepeatLatentBatch",
        "Repeat Latent Batch",
        "latent/batch",
        "Repeats a batch; each picture begins from noise of its own.",
        made(nodes.RepeatLatents, latents="samples", amount="amount"),
        *("samples", "amount"),
    ),
    _latent(
        "LatentComposite",
        "Latent Composite",
        "latent",
        "Pastes latents onto others.",
        made(
            nodes.CompositeLatents,
            below="samples_to",
            above="samples_from",
            x="x",
            y="y",
            feather="feather",
        ),
        *("samples_to", "samples_from", "x", "y", "feather"),
    ),
    _latent(
        "LatentRotate",
        "Rotate Latent",
        "latent/transform",
        "Turns latents clockwise.",
        made(nodes.RotateLatents, latents="samples", rotation="rotation"),
        *("samples", "rotation"),
    ),
    _latent(
        "LatentFlip",
        "Flip Latent",
        "latent/transform",
        "Mirrors latents.",
        made(nodes.FlipLatents, latents="samples", axis="flip_method"),
        *("samples", "flip_method"),
    ),
    _latent(
        "LatentCrop",
        "Crop Latent",
        "latent/transform",
        "Takes a part of latents.",
        made(nodes.CropLatents, latents="samples", width="width", height="height", x="x", y="y"),
        *("samples", "width", "height", "x", "y"),
    ),
    _pair("LatentBatch", "Makes one batch of two.", nodes.JoinLatents),
    _pair(
        "LatentBlend",
        "Takes the weighted mean of two.",
        nodes.BlendLatents,
        Other("blend_factor", hints=_HUNDREDTHS),
        factor="blend_factor",
    ),
    _pair("LatentAdd", "Adds two.", nodes.AddLatents),
    _pair("LatentSubtract", "Subtracts the second from the first.", nodes.SubtractLatents),
    _pair(
        "LatentInterpolate",
        "Interpolates directions and lengths between two.",
        nodes.InterpolateLatents,
        Other("ratio", hints=_HUNDREDTHS),
        ratio="ratio",
    ),
    _latent(
        "LatentMultiply",
        "LatentMultiply",
        "latent/advanced",
        "Multiplies latents by a number.",
        made(nodes.MultiplyLatents, latents="samples", factor="multiplier"),
        *("samples", Other("multiplier", hints=_HUNDREDTHS)),
    ),
)
