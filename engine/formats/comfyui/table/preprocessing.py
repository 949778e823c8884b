"""Rows for the classes that make of pictures what networks are steered by."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import made
from engine.workflow.preprocessing import Edges

_THRESHOLDS = ("low_threshold", "high_threshold")

ROWS = (
    row(
        "Canny",
        "Canny",
        "image/preprocessors",
        "Finds the edges of pictures.",
        inputs=("image", *(Other(name, hints={"step": 0.01}) for name in _THRESHOLDS)),
        outputs=(output("IMAGE", made(Edges, pictures="image", **{name: name for name in _THRESHOLDS})),),
    ),
)
