"""A ComfyUI graph in API form → a workflow, read from its output nodes backwards by the table of classes.

Knows nothing of the editor form, and no models folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.places import no_output, node_id, place, shown, slot_index
from engine.formats.comfyui.table import ANY, OUTPUT_CLASSES, ROWS, Input, Row
from engine.parameters import REQUIRED, nearest
from engine.workflow.node import Node
from engine.workflow.pictures import Output
from engine.workflow.workflow import Place, Workflow


def workflow_of_api(graph: Mapping[str, object]) -> Workflow:
    """Return the workflow of a graph in API form. Raises ``BadRequest`` as ``read_workflow`` says."""
    return _Reader(graph).workflow()


def unknown_class(identity: str, class_type: object) -> BadRequest:
    """Return the mistake of a node whose class is not in the table."""
    where = place(identity, class_type) if isinstance(class_type, str) else f"workflow node {shown(identity)}"
    near = nearest(class_type, ROWS) if isinstance(class_type, str) else ""
    allowed = f"one of the {len(ROWS)} classes that this engine has{near if '; ' in near else ''}"
    return BadRequest(where, class_type, allowed)


class _Made(NamedTuple):
    """What an output of a node is, with its type."""

    type: str
    value: Any


class _Link(NamedTuple):
    """A linked input, and the output that it is linked to."""

    input: Input
    source: str
    slot: int


@dataclass(frozen=True)
class _Found:
    """A node of the graph whose class is known."""

    id: str
    row: Row
    inputs: Mapping[str, object]
    links: dict[str, _Link] = field(default_factory=dict)

    def place(self, name: str = "") -> str:
        return place(self.id, self.row.class_type, name)

    def link(self, known: Input, value: object) -> _Link:
        """The link that an input has. Raises ``BadRequest`` for one that is malformed."""
        parts = value if isinstance(value, list | tuple) and len(value) == 2 else (None, None)
        source, slot = node_id(parts[0]), slot_index(parts[1])
        if source is None or slot is None:
            kind = "an" if known.type == ANY else f"a {known.type}"
            value_too = "" if known.kind is None else f"{known.kind.allowed}, or "
            raise BadRequest(self.place(known.name), value, f'{value_too}a link to {kind} output: ["node id", slot]')
        return _Link(known, source, slot)


class _Reader:
    """Reads a graph once, and goes on behind a mistake to find the others."""

    def __init__(self, graph: Mapping[str, object]) -> None:
        self._graph = graph
        self._nodes = {identity: node for key, node in graph.items() if (identity := node_id(key)) is not None}
        self._made: dict[str, tuple[_Made, ...]] = {}
        self._places: dict[Place, Node] = {}
        self._outputs: dict[str, Output] = {}
        self._wrong: dict[str, BadRequest] = {}
        """The mistakes by their places."""
        self._broken: set[str] = set()
        """The ids of nodes that cannot be made: of them, or behind them, something is wrong."""

    def workflow(self) -> Workflow:
        for found in self._ends():
            self._make(found)
        if self._wrong:
            raise BadRequest.together(list(self._wrong.values()))
        return Workflow(outputs=self._outputs, places=self._places, graph=dict(self._graph))

    def _ends(self) -> list[_Found]:
        """The output nodes. As in ComfyUI, those with nothing connected are idle."""
        classes = {key: node.get("class_type") for key, node in self._nodes.items() if isinstance(node, dict)}
        ends = [self._found(key, "workflow") for key, name in classes.items() if name in OUTPUT_CLASSES]
        connected = [end for end in ends if any(end.inputs.get(name) is not None for name in end.row.links)]
        if not ends:
            raise no_output((name for name in classes.values() if isinstance(name, str)), ROWS, OUTPUT_CLASSES)
        return connected or ends[:1]

    def _found(self, identity: str, asked_by: str) -> _Found:
        node = self._nodes.get(identity)
        if not isinstance(node, dict):
            raise BadRequest(asked_by, f"node {shown(identity)}", "a node of this graph: {class_type, inputs}")
        class_type, inputs = node.get("class_type"), node.get("inputs", {})
        if not isinstance(class_type, str) or class_type not in ROWS:
            raise unknown_class(identity, class_type)
        if not isinstance(inputs, dict):
            raise BadRequest(place(identity, class_type, "inputs"), inputs, "an object")
        return _Found(identity, ROWS[class_type], inputs)

    def _refuse(self, id: str, error: BadRequest) -> None:
        """Note a mistake, for which the node ``id`` cannot be made."""
        self._wrong.setdefault(error.field, error)
        self._broken.add(id)

    def _make(self, end: _Found) -> None:
        """Make ``end`` and all that it depends on, without recursion: graphs may be thousands of nodes deep."""
        stack = [(end, self._linked(end))]
        entered = {end.id}
        while stack:
            found, links = stack[-1]
            link = next(links, None)
            if link is None:
                stack.pop()
                entered.discard(found.id)
                self._finish(found)
            elif link.source not in self._made and link.source not in self._broken:
                try:
                    source = self._source(found, link, entered)
                except BadRequest as error:
                    del found.links[link.input.name]
                    self._refuse(found.id, error)
                else:
                    stack.append((source, self._linked(source)))
                    entered.add(source.id)

    def _linked(self, found: _Found) -> Iterator[_Link]:
        """The links of a node's inputs. Those that are malformed, or missing, are noted."""
        for name, known in found.row.inputs.items():
            value = found.inputs.get(name)
            if known.linked or isinstance(value, list | tuple):
                if value is None and known.may_be_absent:
                    continue
                try:
                    found.links[name] = found.link(known, value)
                except BadRequest as error:
                    self._refuse(found.id, error)
                else:
                    yield found.links[name]

    def _source(self, found: _Found, link: _Link, entered: Set[str]) -> _Found:
        """The node that a link comes from. Raises ``BadRequest`` where there is none, for a circle, and for an output
        of another type, before anything behind it is looked at."""
        source = self._found(link.source, found.place(link.input.name))
        if link.source in entered:
            raise BadRequest(found.place(link.input.name), source.place(), "links that do not run in a circle")
        self._check_output(found, link, source)
        return source

    def _check_output(self, found: _Found, link: _Link, source: _Found) -> None:
        types = source.row.output_types
        kind = types[link.slot] if link.slot < len(types) else "none"
        if kind == "none" or (ANY not in (kind, link.input.type) and kind != link.input.type):
            allowed = f"{'any' if link.input.type == ANY else f'a {link.input.type}'} output"
            raise BadRequest(found.place(link.input.name), f"output {link.slot} of {source.place()}: {kind}", allowed)

    def _finish(self, found: _Found) -> None:
        inputs: dict[str, Any] = {}
        passed = ANY
        for name, known in found.row.inputs.items():
            link = found.links.get(name)
            try:
                if link is not None and link.source in self._broken:
                    self._broken.add(found.id)
                elif link is not None:
                    passed, inputs[name] = self._handed(found, link)
                elif known.linked:
                    inputs[name] = None
                elif not isinstance(found.inputs.get(name), list | tuple):
                    inputs[name] = self._value(found, known)
            except BadRequest as error:
                self._refuse(found.id, error)
        if found.id in self._broken:
            return
        try:
            made = tuple(
                _Made(passed if each.type == ANY else each.type, each.template.make(inputs))
                for each in found.row.outputs
            )
            if found.row.end is not None:
                self._outputs[found.id] = found.row.end.make(inputs)
        except BadRequest as error:
            self._refuse(found.id, BadRequest(found.place(error.field), error.value, error.allowed))
            return
        self._made[found.id] = made
        self._places |= {(found.id, slot): value for slot, (_, value) in enumerate(made) if isinstance(value, Node)}

    def _handed(self, found: _Found, link: _Link) -> _Made:
        """What a link hands on; a value from another node is checked as one that stands in its place."""
        source = self._found(link.source, found.place(link.input.name))
        self._check_output(found, link, source)
        made = self._made[link.source][link.slot]
        if ANY not in (made.type, link.input.type) and made.type != link.input.type:
            given = f"output {link.slot} of {source.place()}: {made.type}"
            raise BadRequest(found.place(link.input.name), given, f"a {link.input.type} output")
        if link.input.kind is None:
            return made
        return _Made(made.type, link.input.read(found.place(link.input.name), made.value))

    @staticmethod
    def _value(found: _Found, known: Input) -> Any:
        """A plain input. Raises ``BadRequest`` if it is missing or not allowed."""
        assert known.kind is not None
        where = found.place(known.name)
        if known.name in found.inputs:
            value = found.inputs[known.name]
            if value is None:  # it asks for a default elsewhere; ComfyUI takes no null
                raise BadRequest(where, value, known.kind.allowed)
            return known.read(where, value)
        if not known.may_be_absent or known.default is REQUIRED:
            raise BadRequest(where, None, f"a value: {known.kind.allowed}")
        return known.default
