"""What a caller wants, as one value: what becomes of which pictures, and what each thing is made from.

Knows no format: ``engine.formats.comfyui`` reads and writes workflows. Knows no tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.errors import BadRequest
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Output

Place = tuple[str, int]
"""A node's id, and which of its outputs, counted from 0."""


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Outputs by the ids of their nodes. Frozen and hashable; two workflows are equal where their outputs are.

    A workflow comes from a ``GenerationRequest`` (``request.workflow()``), from a ComfyUI graph (``from_comfyui``), or
    from nodes that a program puts together itself.
    """

    outputs: Mapping[str, Output]
    """What becomes of pictures, by node id, in the order in which results list them. At least one."""
    places: Mapping[Place, Node] = field(default_factory=dict, compare=False)
    """What each output of a graph's nodes is, by node id and slot: names for what is kept, and for progress."""
    graph: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The ComfyUI graph in API form that it was read from; None where it was not."""

    def __post_init__(self) -> None:
        if not self.outputs:
            raise BadRequest("outputs", {}, "at least one output")

    def __hash__(self) -> int:
        return hash(tuple(self.outputs.items()))

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that an output depends on, each once and behind those that it is made from."""
        return tuple(in_order(*self.outputs.values()))

    @cached_property
    def ids(self) -> Mapping[Node, str]:
        """The id of each node that has one; of equal nodes with several ids, the first."""
        found: dict[Node, str] = {}
        for (id, _), node in self.places.items():
            found.setdefault(node, id)
        for id, output in self.outputs.items():
            found.setdefault(output, id)
        return found

    def at(self, place: Place) -> Node:
        """Return the node at a place, to be kept. Raises ``BadRequest`` where the outputs depend on no node of that
        id."""
        node = self.places.get(place)
        if node is None:
            known = ", ".join(f"{id}:{slot}" for id, slot in self.places) or "none"
            raise BadRequest(
                "keep", f"{place[0]}:{place[1]}", f"a node that the pictures depend on, and an output: {known}"
            )
        return node

    def located(self, error: BadRequest) -> BadRequest:
        """Return ``error``, which is about a node, with the node's place in the graph for its field."""
        if error.node is None or self.graph is None:
            return error
        from engine.formats.comfyui import place_of

        return type(error)(place_of(self, error.node, error.field), error.value, error.allowed, node=error.node)

    @staticmethod
    def from_comfyui(graph: object) -> Workflow:
        """Return the workflow of a ComfyUI graph: JSON text or what it parses to, in API or editor form, or as it is
        posted.

        As in ComfyUI, only what output nodes depend on counts. Raises ``BadRequest``, whose field names node, class and
        input (``workflow node 3 (KSampler) steps``), for what ComfyUI or this engine would not carry out; all that is
        wrong with the nodes is in it.
        """
        from engine.formats.comfyui import read_workflow

        return read_workflow(graph)

    def to_comfyui(self) -> dict[str, Any]:
        """Return the graph in API form: the one it was read from, else one written for it. Seeds are whole numbers."""
        from engine.formats.comfyui import write_workflow

        return dict(self.graph) if self.graph is not None else write_workflow(self)

    def replace(self, **changes: Any) -> Workflow:
        """Return a workflow with other ``outputs``, ``places`` or ``graph``."""
        return dataclasses.replace(self, **changes)
