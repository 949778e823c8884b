"""Rows for the classes that hand a value to other nodes: no node of a workflow, for the value stands in its place."""

from __future__ import annotations

import sys

from engine.formats.comfyui.table.rows import ANY, Other, Row, output, row
from engine.parameters import Flag, Kind, Number, Text, WholeNumber

_LARGEST = sys.maxsize


def _primitive(class_type: str, display_name: str, kind: Kind, type: str, default: object, **hints: object) -> Row:
    value = Other(
        "value", kind=kind, default=default, help="the value", hints=hints, control=isinstance(kind, WholeNumber)
    )
    description = f"Hands one {type} to other nodes."
    return row(
        class_type, display_name, "utils/primitive", description, inputs=(value,), outputs=(output(type, "value"),)
    )


ROWS = (
    _primitive("PrimitiveString", "String", Text(), "STRING", ""),
    _primitive("PrimitiveStringMultiline", "String (Multiline)", Text(), "STRING", "", multiline=True),
    _primitive("PrimitiveInt", "Int", WholeNumber(-_LARGEST, _LARGEST), "INT", 0),
    _primitive("PrimitiveFloat", "Float", Number(-_LARGEST, _LARGEST), "FLOAT", 0.0),
    _primitive("PrimitiveBoolean", "Boolean", Flag(), "BOOLEAN", False),
    row(
        "Reroute",
        "Reroute",
        "utils",
        "Hands on what it is linked to.",
        inputs=(Other("", type=ANY),),
        outputs=(output(ANY, ""),),
    ),
)
