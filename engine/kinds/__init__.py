"""The kinds of value that a parameter can have. ``engine.parameters`` puts them on the fields of dataclasses."""

from engine.kinds.composites import Many, Optional, json_of_text
from engine.kinds.kind import Kind, nullable, placed, within
from engine.kinds.scalars import MAX_SEED, FileName, Flag, Name, Number, OneOf, Seed, Text, WholeNumber

__all__ = [
    "MAX_SEED",
    "FileName",
    "Flag",
    "Kind",
    "Many",
    "Name",
    "Number",
    "OneOf",
    "Optional",
    "Seed",
    "Text",
    "WholeNumber",
    "json_of_text",
    "nullable",
    "placed",
    "within",
]
