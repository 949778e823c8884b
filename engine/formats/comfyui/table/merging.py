"""Rows for the classes that mix two models or two text encoders."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import made
from engine.workflow import merging as nodes
from engine.workflow.node import Node

_CATEGORY = "advanced/model_merging"
_STEP = {"step": 0.01}


def _mix(class_type: str, type: str, node: type[Node], description: str, *values: str) -> Row:
    """A row whose two linked inputs are called ``model1`` and ``model2``, or ``clip1`` and ``clip2``."""
    first, second = f"{type.lower()}1", f"{type.lower()}2"
    return row(
        class_type,
        class_type,
        _CATEGORY,
        description,
        inputs=(first, second, *(Other(name, hints=_STEP) for name in values)),
        outputs=(output(type, made(node, first=first, second=second, **{name: name for name in values})),),
    )


ROWS = (
    _mix("ModelMergeSimple", "MODEL", nodes.MergedModels, "A mean of two models.", "ratio"),
    _mix(
        *("ModelMergeBlocks", "MODEL", nodes.MergedModelBlocks, "A mean of two models, part by part."),
        *("input", "middle", "out"),
    ),
    _mix("ModelMergeAdd", "MODEL", nodes.AddedModels, "The sum of two models."),
    _mix("ModelMergeSubtract", "MODEL", nodes.SubtractedModels, "The difference of two models.", "multiplier"),
    _mix("CLIPMergeSimple", "CLIP", nodes.MergedClips, "A mean of two text encoders.", "ratio"),
    _mix("CLIPMergeAdd", "CLIP", nodes.AddedClips, "The sum of two text encoders."),
    _mix("CLIPMergeSubtract", "CLIP", nodes.SubtractedClips, "The difference of two text encoders.", "multiplier"),
)
