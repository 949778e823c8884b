"""Rows for AUTOMATIC1111's prompts, which no class of ComfyUI encodes: all of them are this engine's own."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import made
from engine.workflow.composing import ComposedGuider, WeightedPrompt
from engine.workflow.text import EncodeA1111Text

_READING = ("before", "emphasis", "old_emphasis", "comma_backtrack", "old_schedules")

ROWS = (
    row(
        "A1111TextEncode",
        "AUTOMATIC1111 Text Encode (Prompt)",
        "conditioning",
        "Encodes a prompt as AUTOMATIC1111 does; [from:to:when] and [a|b] change it on the way.",
        inputs=(
            Other("text", hints={"multiline": True}),
            "clip",
            "evaluations",
            *(Other(name, ours=True) for name in _READING),
        ),
        outputs=(
            output(
                "CONDITIONING",
                made(
                    EncodeA1111Text,
                    text="text",
                    clip="clip",
                    evaluations="evaluations",
                    **{name: name for name in _READING},
                ),
            ),
        ),
        ours=True,
    ),
    row(
        "WeightedPrompt",
        "Weighted prompt",
        "sampling/custom_sampling/guiders",
        "Adds a prompt, with a weight, to those that guidance follows.",
        inputs=("conditioning", Other("weight", hints={"step": 0.01}), Other("before", optional=True)),
        outputs=(
            output("COMPOSITION", made(WeightedPrompt, conditioning="conditioning", weight="weight", before="before")),
        ),
        ours=True,
    ),
    row(
        "ComposedGuider",
        "Composed guider",
        "sampling/custom_sampling/guiders",
        "Guides towards several prompts at once, each by its own weight.",
        inputs=("model", "positive", "negative", Other("cfg", hints={"step": 0.1, "round": 0.01})),
        outputs=(
            output(
                "GUIDER",
                made(ComposedGuider, model="model", positive="positive", negative="negative", cfg_scale="cfg"),
            ),
        ),
        ours=True,
    ),
)
