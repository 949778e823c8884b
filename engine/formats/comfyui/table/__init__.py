"""The table of ComfyUI's classes: reading, writing, checking and ``/object_info`` are all made from it.

A new node is a dataclass in ``engine.workflow``, a function in ``engine.running.functions``, and a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.formats.comfyui.table import (
    a1111,
    composing,
    conditioning,
    controls,
    editing,
    inpainting,
    latents,
    loaders,
    masks,
    merging,
    patches,
    pictures,
    preprocessing,
    samplers,
    sampling,
    sigmas,
    values,
)
from engine.formats.comfyui.table.rows import ANY, CONTROL, Input, Output, Row

__all__ = ["ANY", "CONTROL", "OUTPUT_CLASSES", "ROWS", "Input", "Output", "Row"]

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        each.class_type: each
        for rows in (
            loaders.ROWS,
            conditioning.ROWS,
            composing.ROWS,
            controls.ROWS,
            merging.ROWS,
            latents.ROWS,
            sampling.ROWS,
            sigmas.ROWS,
            samplers.ROWS,
            pictures.ROWS,
            preprocessing.ROWS,
            inpainting.ROWS,
            patches.ROWS,
            editing.ROWS,
            masks.ROWS,
            a1111.ROWS,
            values.ROWS,
        )
        for each in rows
    }
)
"""The rows by class."""

OUTPUT_CLASSES = tuple(name for name, each in ROWS.items() if each.is_output)
"""What ComfyUI starts from: a node that none of these depends on is never run."""
