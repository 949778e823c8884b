"""Finds the parts of a workflow that is taken for a request, and refuses what is there instead, by its place.

Knows no parameter of a request and no forms of graphs.
"""

from __future__ import annotations

from typing import TypeVar

from engine.errors import BadRequest
from engine.formats.comfyui.places import place
from engine.formats.comfyui.writer import place_of
from engine.workflow.models import Checkpoint, Clip, Vae
from engine.workflow.node import Node
from engine.workflow.workflow import Workflow

_NOTHING_ELSE = (
    "nothing else is one request: a KSampler from empty latents or an encoded picture, by one checkpoint with LoRAs, "
    "with prompts for the whole picture and for areas, ControlNets, a second pass at a larger size, an upscale model"
)
N = TypeVar("N", bound=Node)


class Parts:
    """The nodes of one workflow, as parts of a request."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow

    def refused(self, node: Node, field: str, value: object, allowed: str = "") -> BadRequest:
        """Return the error that a field has ``value``, where only ``allowed`` is a part of a request."""
        shown = self.described(value) if isinstance(value, Node) else value
        return BadRequest(self.place(node, field), shown, "; ".join(filter(None, (allowed, _NOTHING_ELSE))))

    def part(self, node: Node, field: str, kind: type[N], wanted: str) -> N:
        """Return the node in a field. Raises ``BadRequest`` where it is not of ``kind``, which callers know as
        ``wanted``."""
        found = getattr(node, field)
        if not isinstance(found, kind):
            raise self.refused(node, field, found, wanted)
        return found

    def same_checkpoint(self, checkpoint: Checkpoint, node: Node, field: str, other: Vae | Clip) -> None:
        """Raise ``BadRequest`` where ``other``, which ``field`` leads to, is not the sampler's checkpoint."""
        if other != checkpoint:
            value = other.name if isinstance(other, Checkpoint) else other
            raise self.refused(node, field, value, f"the sampler's checkpoint, {checkpoint.name}")

    def place(self, node: Node, field: str) -> str:
        """Return the place of a field in the graph."""
        return place_of(self.workflow, node, field)

    def described(self, node: Node) -> str:
        """Return a node's id and class in the graph, or its own class where it stands in none."""
        identity = self.workflow.ids.get(node)
        entry = (self.workflow.graph or {}).get(identity or "")
        return (
            place(identity, str(entry["class_type"])) if identity and isinstance(entry, dict) else type(node).__name__
        )
