"""Orders the nodes of a graph in API form as ComfyUI would run them, and finds the one that a job is at.

Knows nothing of what the nodes mean for the picture; ``engine.formats.comfyui`` reads that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.formats.comfyui.flat import PARAMETER_INPUTS
from engine.formats.comfyui.places import node_id, place
from engine.formats.comfyui.table import OUTPUT_CLASSES, ROWS, Row
from server.job import Stage
from server.queue.events import Event

Nodes = Mapping[str, Any]
"""Node id → ``{class_type, inputs}``."""

_OF_STAGE: Mapping[Stage, Callable[[Row], bool]] = {
    "loading": lambda row: row.class_type == "CheckpointLoaderSimple",
    "sampling": lambda row: "sampling" in row.category and any(output.type == "LATENT" for output in row.outputs),
    "decoding": lambda row: row.class_type == "VAEDecode",
}
"""The nodes that a job is at in each stage, for events that name none. A job that waits is before its first sampler."""


def output_nodes(nodes: Nodes) -> list[str]:
    """List the nodes that show a picture. As in ComfyUI, those with nothing connected are idle."""
    return [id for id, node in nodes.items() if node["class_type"] in OUTPUT_CLASSES and "images" in _inputs(node)]


def unknown_nodes(nodes: Nodes) -> list[str]:
    """List the nodes of classes that are not known here, whether an output depends on them or not."""
    return [id for id, node in nodes.items() if node["class_type"] not in ROWS]


def without_outputs(nodes: Nodes, keep: Sequence[str]) -> dict[str, Any]:
    """Return the graph without the output nodes that are not among ``keep``."""
    return {id: node for id, node in nodes.items() if node["class_type"] not in OUTPUT_CLASSES or id in keep}


@dataclass(frozen=True)
class Course:
    """The nodes of an accepted graph, in the order in which ComfyUI would run them."""

    nodes: Nodes
    outputs: tuple[str, ...]

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Every node that an output depends on, each after those that it depends on."""
        done: dict[str, None] = {}
        for output in self.outputs:
            stack = [(output, iter(self._sources(output)))]
            entered = {output}
            while stack:
                id, sources = stack[-1]
                source = next((each for each in sources if each not in entered and each not in done), None)
                if source is None:
                    done[id] = None
                    stack.pop()
                else:
                    entered.add(source)
                    stack.append((source, iter(self._sources(source))))
        return tuple(done)

    def class_of(self, id: str) -> str:
        return str(self.nodes[id]["class_type"])

    def place(self, stage: Stage | None) -> int:
        """Return the place in ``order`` of the node that a job is at in ``stage``."""
        if stage == "waiting":
            return max(self.place("sampling") - 1, 0)
        fits = _OF_STAGE.get(stage) if stage else None
        rows = ((place, ROWS.get(self.class_of(id))) for place, id in enumerate(self.order))
        return next((place for place, row in rows if fits is not None and row is not None and fits(row)), 0)

    def place_of(self, event: Event) -> int:
        """Return the place in ``order`` of the node that an event is about."""
        return self.order.index(event.node) if event.node in self.order else self.place(event.stage)

    def samples(self, id: str) -> bool:
        """Return whether a node is a sampler, whose steps are its progress."""
        return _OF_STAGE["sampling"](ROWS[self.class_of(id)])

    def node_of(self, parameter: str) -> tuple[str, str] | None:
        """Return the node and its input that hold a parameter of ``GenerationRequest``; None if no node does."""
        if parameter not in PARAMETER_INPUTS:
            return None
        part, name = PARAMETER_INPUTS[parameter]
        id = self._part(part)
        return None if id is None else (id, name)

    def input_at(self, where: str) -> tuple[str, str] | None:
        """Return the node and its input that a place in words names: ``workflow node 3 (KSampler) steps``."""
        found: tuple[str, str] | None = None
        longest = -1
        for id, node in self.nodes.items():
            start = place(id, str(node["class_type"]))
            if (where == start or where.startswith(f"{start} ")) and len(start) > longest:
                found, longest = (id, where[len(start) + 1 :]), len(start)
        return found

    def value_at(self, id: str, name: str) -> dict[str, list[Any]]:
        """Return an input of a node with its value in a list, as ComfyUI shows what a node was given."""
        inputs = _inputs(self.nodes[id])
        return {name: [inputs[name]]} if name in inputs else {}

    def _part(self, part: str) -> str | None:
        sampler = self._first("KSampler")
        if part in ("positive", "negative") and sampler is not None:
            link = _inputs(self.nodes[sampler]).get(part)
            source = node_id(link[0]) if isinstance(link, list) and link else None
            return source if source in self.nodes else None
        classes = {
            "sampler": "KSampler",
            "loader": "CheckpointLoaderSimple",
            "latent": "EmptyLatentImage",
            "layer": "CLIPSetLastLayer",
        }
        return self._first(classes[part]) if part in classes else None

    def _first(self, class_type: str) -> str | None:
        return next((id for id in self.order if self.class_of(id) == class_type), None)

    def _sources(self, id: str) -> Iterator[str]:
        inputs = _inputs(self.nodes[id])
        row = ROWS.get(self.class_of(id))
        for name in inputs if row is None else row.inputs:
            link = inputs.get(name)
            source = node_id(link[0]) if isinstance(link, list) and link else None
            if source is not None and source in self.nodes:
                yield source


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}
