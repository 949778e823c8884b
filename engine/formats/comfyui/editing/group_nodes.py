"""Group nodes of the editor form → the nodes inside them.

A group node shows the inputs of its nodes that nothing inside is linked to, in the order of the nodes, the outputs that
are not used inside alone, and the widgets. Its values are kept on it, not inside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.editing.nodes import EditorGraph, EditorNode, Link, Slot, linked, read_node
from engine.formats.comfyui.places import node_id, slot_index
from engine.formats.comfyui.table import CONTROL, ROWS


class _Wire(NamedTuple):
    """A link inside a group, between nodes by their indices."""

    origin: int
    output: int
    target: int
    input: int


def expand_group(flat: EditorGraph, node: EditorNode, group: Mapping[str, Any]) -> None:
    """Add the nodes inside a group node to ``flat``, with ids such as ``50:0``, and what stands for its outputs.

    Raises ``BadRequest`` where the node's values do not fit the nodes inside.
    """
    inner = _with_values(node, _inner(node, group))
    wires = list(_wires(group, len(inner)))
    for each in _with_inputs(node, _with_wires(flat, node, inner, wires)):
        flat.nodes[each.id] = each
    shown = 0
    outside = {(entry[0], entry[1]) for entry in _lists(group, "external", 2)}
    inside = {(wire.origin, wire.output) for wire in wires}
    for index, each in enumerate(inner):
        for slot, _ in enumerate(each.outputs):
            if (index, slot) in inside and (index, slot) not in outside:
                continue
            identity = link = f"{node.id}>{shown}"
            flat.links[link] = Link(each.id, slot)
            through = Slot(name="", type="*", link=link)
            flat.nodes[identity] = EditorNode(id=identity, type="Reroute", inputs=(through,))
            shown += 1


def _inner(node: EditorNode, group: Mapping[str, Any]) -> list[EditorNode]:
    entries = group.get("nodes")
    inner: list[EditorNode] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise BadRequest(node.place(), entry, "a group node whose nodes are objects with a type")
        inner.append(read_node(entry, f"{node.id}:{index}", ""))
    return inner


def _wires(group: Mapping[str, Any], count: int) -> Iterator[_Wire]:
    for entry in _lists(group, "links", 4):
        wire = [slot_index(value) for value in entry[:4]]
        if None not in wire and max(wire[0] or 0, wire[2] or 0) < count:
            yield _Wire(*(value or 0 for value in wire))


def _with_wires(flat: EditorGraph, node: EditorNode, inner: list[EditorNode], wires: list[_Wire]) -> list[EditorNode]:
    """The nodes with the links inside the group, and no others."""
    inputs = [[linked(slot, None) for slot in each.inputs] for each in inner]
    for number, wire in enumerate(wires):
        link = f"{node.id}:{number}"
        flat.links[link] = Link(inner[wire.origin].id, wire.output)
        slots = inputs[wire.target]
        if wire.input < len(slots):
            slots[wire.input] = linked(slots[wire.input], link)
    return [dataclasses.replace(each, inputs=tuple(slots)) for each, slots in zip(inner, inputs, strict=True)]


def _with_inputs(node: EditorNode, inner: list[EditorNode]) -> list[EditorNode]:
    """The nodes with the links into the group: plain inputs in order, those of widgets by name."""
    plain = iter([slot for slot in node.inputs if not slot.is_widget])
    by_name = {slot.name: slot.link for slot in node.inputs if slot.is_widget}
    seen: set[str] = set()
    found: list[EditorNode] = []
    for each in inner:
        inputs = []
        for slot in each.inputs:
            outer = next(plain, None) if slot.link is None and not slot.is_widget else None
            inputs.append(slot if outer is None else linked(slot, outer.link))
        linked_widgets: dict[str, Slot] = {}
        for name in _widgets(each):
            outer_name = f"{each.type} {name}" if name in seen else name
            seen.add(name)
            if by_name.get(outer_name) is not None:
                linked_widgets[name] = Slot(name=name, type="", link=by_name[outer_name], is_widget=True)
        inputs = [slot for slot in inputs if slot.name not in linked_widgets]
        found.append(dataclasses.replace(each, inputs=(*inputs, *linked_widgets.values())))
    return found


def _with_values(node: EditorNode, inner: list[EditorNode]) -> list[EditorNode]:
    """The nodes with the values of the group node's widgets."""
    if not isinstance(node.widgets, list):
        return inner
    shown = [_shown_widgets(each) for each in inner]
    if sum(map(len, shown)) != len(node.widgets):
        all_names = ", ".join(name for each in shown for name in each)
        raise BadRequest(node.place("widgets_values"), node.widgets, f"the values of {all_names or 'no widgets'}")
    values = iter(node.widgets)
    found = []
    for each, names in zip(inner, shown, strict=True):
        own = each.widgets if isinstance(each.widgets, list) else []
        known = dict(zip(_widgets(each), own, strict=False))
        known |= {name: next(values) for name in names}
        found.append(dataclasses.replace(each, widgets=[known.get(name) for name in _widgets(each)]))
    return found


def _widgets(node: EditorNode) -> list[str]:
    """The names of a node's widgets; of a class that is unknown, numbers."""
    if node.type in ROWS:
        row = ROWS[node.type]
        return [name for name in row.widgets if name not in row.inputs or not row.inputs[name].ours]
    return [str(number) for number in range(len(node.widgets) if isinstance(node.widgets, list) else 0)]


def _shown_widgets(node: EditorNode) -> list[str]:
    """The widgets that the group node shows: those that were not made inputs inside."""
    converted = {slot.name for slot in node.inputs if slot.is_widget}
    names: list[str] = []
    for name in _widgets(node):
        if name not in converted and not (name == CONTROL and converted & {"seed", "noise_seed"}):
            names.append(name)
    return names


def _lists(group: Mapping[str, Any], key: str, least: int) -> list[list[Any]]:
    entries = group.get(key)
    found = [each for each in entries if isinstance(each, list)] if isinstance(entries, list) else []
    return [
        each for each in found if len(each) >= least and node_id(each[0]) is not None and node_id(each[1]) is not None
    ]
