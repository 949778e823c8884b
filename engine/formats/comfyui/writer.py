"""A workflow → the ComfyUI graph in API form that makes it, by the table of classes.

Knows nothing of the editor form.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.pairs import halves
from engine.formats.comfyui.places import place
from engine.formats.comfyui.table import ROWS, Row
from engine.formats.comfyui.table.templates import Made, Template
from engine.parameters import REQUIRED
from engine.workflow.node import Node
from engine.workflow.workflow import Workflow

_EXACT = 2**53
"""From here on not every whole number is a float."""


def write_workflow(workflow: Workflow) -> dict[str, Any]:
    """Return the graph in API form that ``read_workflow`` reads as ``workflow``, its nodes in the order they run in.

    The ids are those of ``workflow.places`` and ``workflow.outputs`` where they have some. What ComfyUI makes with one
    node is written as one, and whole numbers without a point; seeds are whole numbers.
    """
    return _Writer(workflow).graph()


def place_of(workflow: Workflow, node: Node, field: str) -> str:
    """Return the place of a node's field in the workflow's graph: ``workflow node 5 (EmptyLatentImage) width``."""
    for (identity, slot), made in itertools.chain(
        workflow.places.items(), (((identity, -1), end) for identity, end in workflow.outputs.items())
    ):
        row = _row_of(workflow, identity)
        if row is None or slot >= len(row.outputs):
            continue
        template = row.end if slot < 0 else row.outputs[slot].template
        name = template.input_of(made, node, field) if template is not None else None
        if name is not None:
            return place(identity, row.class_type, name)
    return place(workflow.ids.get(node, "?"), type(node).__name__, field)


def _row_of(workflow: Workflow, identity: str) -> Row | None:
    entry = (workflow.graph or {}).get(identity)
    class_type = entry.get("class_type") if isinstance(entry, Mapping) else None
    return ROWS.get(class_type) if isinstance(class_type, str) else None


class _Form(NamedTuple):
    """A way to write a node: as an output of a row, or as its end."""

    row: Row
    slot: int
    template: Template


class _Writer:
    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._graph: dict[str, dict[str, Any]] = {}
        self._made: dict[Node, tuple[str, _Form]] = {}
        self._written: dict[tuple[object, ...], str] = {}
        self._halves = halves(workflow.nodes)
        self._pairs = _pairs_of(workflow.nodes)
        names = [*workflow.outputs, *(identity for identity, _ in workflow.places)]
        self._fresh = itertools.count(1 + max((int(name) for name in names if _is_number(name)), default=0))

    def graph(self) -> dict[str, Any]:
        for identity, end in self._workflow.outputs.items():
            form, inputs = self._inputs_of(end)
            self._write_sources(inputs)
            self._graph[identity] = self._node(form.row, inputs)
        return self._graph

    def _write_sources(self, inputs: Mapping[str, Any]) -> None:
        """Write the nodes among ``inputs`` and all that they are made from, without recursion."""
        stack = [_nodes_in(inputs)]
        pending: list[tuple[Node, _Form, Mapping[str, Any]]] = []
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                if pending:
                    self._write(*pending.pop())
            elif node not in self._made:
                form, needed = self._inputs_of(node)
                pending.append((node, form, needed))
                stack.append(_nodes_in(needed))

    def _inputs_of(self, node: Node) -> tuple[_Form, Mapping[str, Any]]:
        half = self._halves.get(node)
        if half is None:
            return self._pairs.get(node) or _inputs_of(node)
        return _Form(half.row, half.slot, half.row.outputs[half.slot].template), half.inputs

    def _write(self, node: Node, form: _Form, inputs: Mapping[str, Any]) -> None:
        entry = (form.row.class_type, *map(_exact, inputs.values()))  # the same for all the outputs of one ComfyUI node
        identity = self._written.get(entry)
        if identity is None:
            identity = self._written[entry] = self._id(node)
            self._graph[identity] = self._node(form.row, inputs)
        self._made[node] = (identity, form)

    def _node(self, row: Row, inputs: Mapping[str, Any]) -> dict[str, Any]:
        written = {
            name: self._link(row.inputs[name].type, value) if isinstance(value, Node) else plain_number(value)
            for name, value in inputs.items()
            # what has no value is left out, and what ComfyUI does not know, unless it says something
            if value is not None and not (row.inputs[name].ours and value == row.inputs[name].default)
        }
        return {"class_type": row.class_type, "inputs": written}

    def _link(self, type: str, node: Node) -> list[object]:
        """The output of the wanted type: one node may be several things, as a checkpoint is."""
        identity, form = self._made[node]
        alike = [slot for slot, each in enumerate(form.row.outputs) if each.template == form.template]
        return [identity, next(slot for slot in alike if form.row.outputs[slot].type == type)]

    def _id(self, node: Node) -> str:
        identity = self._workflow.ids.get(node)
        if identity is None or identity in self._graph or identity in self._workflow.outputs:
            return str(next(self._fresh))
        return identity


def _inputs_of(node: Node) -> tuple[_Form, dict[str, Any]]:
    """The first way to write ``node``, and the inputs that make it: nodes and values."""
    for form in _FORMS[type(node)]:
        found: dict[str, Any] = {}
        try:
            if not form.template.match(node, found):
                continue
            inputs = {
                name: each.checked(found.get(name, found.get(each.like, each.default)))
                for name, each in form.row.inputs.items()
                if name in found
                or each.like in found
                or (not each.linked and each.default is not REQUIRED)  # ComfyUI asks for all of them
            }
            if form.template.make(inputs) == node:  # not where 1 stands for 1.0, which is another value
                return form, inputs
        except BadRequest:
            continue
    raise BadRequest("workflow", repr(node), "a node that has a class in ComfyUI", node=node)


def _pairs_of(nodes: Sequence[Node]) -> dict[Node, tuple[_Form, dict[str, Any]]]:
    """What ``_inputs_of`` returns of nodes that are two outputs of one ComfyUI node, each made from a link of its own.

    Two nodes are a pair where the rest of their inputs is equal, and as many nodes of this kind lie behind each of
    them: so no pair can be made from itself.
    """
    depths: dict[Node, int] = {}
    alike: dict[tuple[object, ...], list[tuple[Node, list[_Form]]]] = defaultdict(list)
    for node in nodes:
        forms = [form for form in _FORMS[type(node)] if any(each.like for each in form.row.inputs.values())]
        depths[node] = bool(forms) + max((depths[source] for source in node.sources()), default=0)
        found: dict[str, Any] = {}
        if forms and forms[0].template.match(node, found):
            same = [_exact(value) for name, value in found.items() if not forms[0].row.inputs[name].like]
            alike[(forms[0].row.class_type, depths[node], *same)].append((node, forms))
    pairs: dict[Node, tuple[_Form, dict[str, Any]]] = {}
    for group in alike.values():
        for (first, forms), (second, _) in zip(group[::2], group[1::2], strict=False):
            inputs: dict[str, Any] = {}
            if forms[0].template.match(first, inputs) and forms[1].template.match(second, inputs):
                inputs = {
                    name: inputs.get(name, each.default)
                    for name, each in forms[0].row.inputs.items()
                    if name in inputs or (not each.linked and each.default is not REQUIRED)
                }
                pairs |= {first: (forms[0], inputs), second: (forms[1], inputs)}
    return pairs


def _exact(value: Any) -> object:
    """A number by its text, since 0.0 == -0.0."""
    return value if isinstance(value, Node) else repr(value)


def _nodes_in(inputs: Mapping[str, Any]) -> Iterator[Node]:
    return (value for value in inputs.values() if isinstance(value, Node))


def plain_number(value: Any) -> Any:
    """Return a whole number without a point, as ComfyUI's editor writes it; other values as they are."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT and str(value) != "-0.0":
        return int(value)
    return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _forms() -> Mapping[type[Node], list[_Form]]:
    """Node class → the ways to write it; those that ComfyUI does not have come last."""
    forms: dict[type[Node], list[_Form]] = defaultdict(list)
    for row in sorted((row for row in ROWS.values() if row.written), key=lambda row: row.ours):
        for slot, template in enumerate(row.templates()):
            if isinstance(template, Made):
                forms[template.node].append(_Form(row, slot, template))
    return forms


_FORMS = _forms()
