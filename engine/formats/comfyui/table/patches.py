"""Rows for the classes that change a model without other weights."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import made
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
)
