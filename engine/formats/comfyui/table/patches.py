"""Rows for the classes that change a model without other weights."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Always, made
from engine.workflow import patches as nodes
from engine.workflow.models import Model


def _patch(
    class_type: str, category: str, description: str, node: type[Model], *inputs: str | Other, name: str = ""
) -> Row:
    """A class whose inputs are the node's fields of the same names."""
    fields = {each if isinstance(each, str) else each.name for each in inputs}
    template = made(node, model="model", **{field: field for field in fields})
    return row(
        class_type,
        name or class_type,
        category,
        description,
        inputs=("model", *inputs),
        outputs=(output("MODEL", template),),
    )


def _in_steps(step: float, *names: str) -> tuple[Other, ...]:
    return tuple(Other(name, hints={"step": step}) for name in names)


def _free_u(class_type: str, version: int, b1: float, b2: float) -> Row:
    factors = {name: name for name in ("b1", "b2", "s1", "s2")}
    step = {"step": 0.01}
    return row(
        class_type,
        class_type,
        "model_patches/unet",
        "Lets the model's own features count more than what is handed past them.",
        inputs=(
            "model",
            Other("b1", default=b1, hints=step),
            Other("b2", default=b2, hints=step),
            *_in_steps(0.01, "s1", "s2"),
        ),
        outputs=(output("MODEL", made(nodes.FreeU, model="model", version=Always(version), **factors)),),
    )


ROWS = (
    _patch(
        "ModelSamplingDiscrete",
        "advanced/model",
        "Reads a model's output as noise, velocity, clean latents or a consistency model's.",
        nodes.DiscreteReading,
        *("sampling", "zsnr"),
    ),
    _patch(
        "ModelSamplingContinuousEDM",
        "advanced/model",
        "Reads the output of a model without training timesteps.",
        nodes.ContinuousReading,
        "sampling",
        *_in_steps(0.001, "sigma_max", "sigma_min"),
    ),
    _patch(
        "RescaleCFG",
        "advanced/model",
        "Keeps strong guidance from making pictures too bright.",
        nodes.RescaledGuidance,
        *_in_steps(0.01, "multiplier"),
    ),
    _patch(
        "PerturbedAttentionGuidance",
        "model_patches/unet",
        "Guides away from what the model predicts without looking around.",
        nodes.PerturbedAttention,
        *_in_steps(0.01, "scale"),
    ),
    _patch(
        "SelfAttentionGuidance",
        "_for_testing",
        "Guides away from what the model predicts of a blurred picture.",
        nodes.SelfAttention,
        *_in_steps(0.01, "scale"),
        *_in_steps(0.1, "blur_sigma"),
        name="Self-Attention Guidance",
    ),
    _free_u("FreeU", 1, 1.1, 1.2),
    _free_u("FreeU_V2", 2, 1.3, 1.4),
    _patch(
        "HyperTile",
        "model_patches/unet",
        "Lets self-attention look at parts of the picture only, for speed.",
        nodes.HyperTile,
        *("tile_size", "swap_size", "max_depth", "scale_depth"),
    ),
    _patch(
        "TomePatchModel",
        "model_patches/unet",
        "Merges tokens that are alike in self-attention, for speed.",
        nodes.TokenMerging,
        *_in_steps(0.01, "ratio"),
    ),
    _patch(
        "PatchModelAddDownscale",
        "model_patches/unet",
        "Begins a large picture as a smaller one.",
        nodes.DeepShrink,
        "block_number",
        *_in_steps(0.001, "downscale_factor", "start_percent", "end_percent"),
        "downscale_after_skip",
        "downscale_method",
        "upscale_method",
        name="PatchModelAddDownscale (Kohya Deep Shrink)",
    ),
)
