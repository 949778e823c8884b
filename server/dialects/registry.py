"""All dialects of the server, in the order in which they are asked whether they own a path."""

from __future__ import annotations

from collections.abc import Collection

from server.dialects.comfyui import DIALECT as COMFYUI
from server.dialects.dialect import Dialect
from server.dialects.huggingface import DIALECT as HUGGINGFACE
from server.dialects.native import DIALECT as NATIVE
from server.dialects.openai import DIALECT as OPENAI
from server.dialects.replicate import DIALECT as REPLICATE
from server.dialects.sdapi import DIALECT as SDAPI

DIALECTS: tuple[Dialect, ...] = (COMFYUI, SDAPI, OPENAI, REPLICATE, HUGGINGFACE, NATIVE)
"""The native dialect comes last: it owns every path that no other dialect owns."""


def served_dialects(names: Collection[str]) -> tuple[Dialect, ...]:
    """The dialects in ``names`` and those that are always served, in the order of ``DIALECTS``."""
    return tuple(dialect for dialect in DIALECTS if dialect.always_served or dialect.name in names)
