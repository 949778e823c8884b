"""Rows for the classes that say what is painted anew, and how."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import made
from engine.workflow import inpainting as nodes

ROWS = (
    row(
        "DifferentialDiffusion",
        "Differential Diffusion",
        "_for_testing",
        "Paints each cell of the noise mask anew from the step on at which its value says so.",
        inputs=("model", Other("strength", optional=True, hints={"step": 0.01})),
        outputs=(output("MODEL", made(nodes.DifferentialDiffusion, model="model", strength="strength")),),
    ),
)
