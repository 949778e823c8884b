"""Finds pairs of nodes that one ComfyUI node makes together: the model and the text encoder of a ``LoraLoader``.

Knows no class in particular: those are meant whose outputs are nodes of two classes, each made from some of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.table import ROWS, Row
from engine.formats.comfyui.table.templates import Made
from engine.workflow.node import Node


class Half(NamedTuple):
    """One node of a pair."""

    other: Node
    row: Row
    slot: int
    """The output that the node is."""
    inputs: Mapping[str, Any]
    """Of both, checked."""


def halves(nodes: Sequence[Node]) -> dict[Node, Half]:
    """Each node that is written with another → how. ``nodes``: each behind those that it is made from.

    What a pair is made from is a pair itself, or no half of one: so no node comes to depend on itself.
    """
    found: dict[Node, Half] = {}
    for row in _PAIRED:
        first, second = (output.template for output in row.outputs)
        assert isinstance(first, Made)
        assert isinstance(second, Made)
        kinds = (first.node, second.node)
        others = [node for node in nodes if type(node) is second.node]
        for node in (node for node in nodes if type(node) is first.node):
            for other in others:
                inputs = _inputs(row, first, second, node, other)
                if other not in found and inputs is not None and _in_step(inputs, found, kinds):
                    found[node], found[other] = Half(other, row, 0, inputs), Half(node, row, 1, inputs)
                    break
    return found


def _inputs(row: Row, first: Made, second: Made, node: Node, other: Node) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    if not first.match(node, values) or not second.match(other, values):
        return None
    try:
        inputs = {name: each.checked(values[name]) for name, each in row.inputs.items()}
    except (BadRequest, KeyError):
        return None
    return inputs if first.make(inputs) == node and second.make(inputs) == other else None


def _in_step(inputs: Mapping[str, Any], found: Mapping[Node, Half], kinds: tuple[type[Node], ...]) -> bool:
    """Whether the nodes among ``inputs`` are a pair, or none of them could be half of one."""
    sources = [value for value in inputs.values() if isinstance(value, Node)]
    halves = [source for source in sources if type(source) in kinds]
    return all(source in found and found[source].other in sources for source in halves)


def _pairs_up(row: Row) -> bool:
    templates = [output.template for output in row.outputs]
    if row.ours or len(templates) != 2 or not all(isinstance(template, Made) for template in templates):
        return False
    alike = len({template.node for template in templates if isinstance(template, Made)}) == 1
    return not alike and all(set(template.names()) < set(row.inputs) for template in templates)


_PAIRED = tuple(row for row in ROWS.values() if _pairs_up(row))
