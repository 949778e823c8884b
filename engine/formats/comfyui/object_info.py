"""The classes of the table as ComfyUI's ``/object_info`` describes them. Knows no server and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.formats.comfyui.table import CONTROL, ROWS, Input, Row
from engine.parameters import MAX_SEED, REQUIRED, Number, OneOf, Seed, WholeNumber


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What depends on where the classes are offered."""

    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kind of files, by the name of ComfyUI's folder for it → the names to choose from."""
    most: Mapping[str, int] = field(default_factory=dict)
    """Name of an input → the largest whole number that is taken, if that is less than the table's."""


def object_info(offer: Offer) -> dict[str, Any]:
    """Return the description of every class that a server has, by name."""
    return {name: described(row, offer) for name, row in ROWS.items() if not row.is_virtual}


def described(row: Row, offer: Offer) -> dict[str, Any]:
    """Return the description of a class: inputs with type, range and default; outputs; how it is shown."""
    groups: dict[str, dict[str, Any]] = {"required": {}}
    for name, each in row.inputs.items():
        groups.setdefault("optional" if each.optional else "required", {})[name] = input_config(each, offer)
    if row.is_output:
        groups["hidden"] = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
    return signature(
        row.class_type,
        inputs=groups,
        outputs=[(each.type, each.name) for each in row.outputs],
        display_name=row.display_name,
        category=row.category,
        description=row.description,
        output_node=row.is_output,
    )


def input_config(known: Input, offer: Offer) -> list[Any]:
    """Return what an input takes: ``[type or choices, range, default and hints]``."""
    hints: dict[str, Any] = {"tooltip": known.help} if known.help else {}
    if known.kind is None:
        return [known.type, hints]
    if known.default is not REQUIRED and known.default is not None:
        hints["default"] = known.default
    hints |= _range(known, offer.most.get(known.name))
    hints |= known.hints
    if known.control:
        hints[CONTROL] = True
    if known.type != "COMBO":
        return [known.type, hints]
    choices = list(known.kind.choices) if isinstance(known.kind, OneOf) else list(offer.files.get(known.files, ()))
    return [choices, hints]


def signature(
    class_type: str,
    *,
    inputs: Mapping[str, Mapping[str, Any]],
    outputs: Sequence[tuple[str, str]] = (),
    display_name: str,
    category: str,
    description: str,
    output_node: bool = False,
) -> dict[str, Any]:
    """Return a class's description in ComfyUI's words; ``outputs`` are types and names."""
    return {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "is_input_list": False,
        "output": [type for type, _ in outputs],
        "output_is_list": [False] * len(outputs),
        "output_name": [name for _, name in outputs],
        "name": class_type,
        "display_name": display_name,
        "description": description,
        "python_module": "nodes",
        "category": category,
        "output_node": output_node,
    }


def _range(known: Input, most: int | None) -> dict[str, Any]:
    match known.kind:
        case Seed():
            return {"min": 0, "max": MAX_SEED}
        case WholeNumber(low=low, high=high, multiple=multiple):
            step = {"step": multiple} if multiple > 1 else {}
            return {"min": low, "max": high if most is None else min(high, most), **step}
        case Number(low=low, high=high):
            return {"min": float(low), "max": float(high)}
    return {}
