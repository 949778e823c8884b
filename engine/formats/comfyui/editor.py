"""The editor form of a ComfyUI graph → its API form, as the editor itself does it when a graph is queued.

Knows links, widgets, reroutes, primitives, and bypassed and muted nodes; does not know what the nodes mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.dynamic_prompt import expand
from engine.formats.comfyui.nodes import CONTROL, NODE_CLASSES, OUTPUT_CLASSES, node_id, place, shown, slot_index

_MUTED = 2
_BYPASSED = 4
_LONGEST_PATH = 100
_SUBGRAPH = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|workflow[>/].*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """An input or output of a node. ``link`` is "" where the file has something that is no id.

    Where the input is a widget's, its name is the widget's, whatever the file calls the input.
    """

    name: str
    type: str
    link: str | None
    is_widget: bool


@dataclass(frozen=True, kw_only=True)
class _Node:
    id: str
    type: str
    mode: object
    inputs: list[_Slot]
    outputs: list[_Slot]
    widgets: object

    def place(self, name: str = "") -> str:
        return place(self.id, self.type, name)


@dataclass(frozen=True)
class _Value:
    """What a primitive hands to a widget."""

    value: object


class _Link(NamedTuple):
    """Where a link comes from."""

    node: str
    output: int


def api_from_editor(graph: Mapping[str, object]) -> dict[str, object]:
    """The API form of what the output nodes of ``graph`` depend on; empty if no output node is active.

    Notes and all that no output depends on are left out, whatever they are. Raises ``BadRequest``, naming node and
    class, for subgraphs, for links that lead nowhere, in a circle or to a muted node, and for widgets that do not
    fit their class.
    """
    nodes = _nodes(graph)
    _refuse_subgraphs(graph, nodes)
    links = _links(graph)
    active = [node for node in nodes.values() if node.mode not in (_MUTED, _BYPASSED)]
    queue = [node.id for node in active if node.type in OUTPUT_CLASSES]
    api: dict[str, object] = {}
    for reached in queue:  # grows while it is walked
        if reached not in api:
            node = nodes[reached]
            inputs = _inputs(nodes, links, node) if node.type in NODE_CLASSES else {}
            queue += [value.node for value in inputs.values() if isinstance(value, _Link)]
            plain = {name: list(value) if isinstance(value, _Link) else value for name, value in inputs.items()}
            api[reached] = {"class_type": node.type, "inputs": plain}
    return api


def _inputs(nodes: Mapping[str, _Node], links: Mapping[str, _Link], node: _Node) -> dict[str, object]:
    """A known node's inputs by name: plain values and links."""
    inputs = _widget_values(node)
    for slot in {slot.name: slot for slot in node.inputs}.values():
        if slot.name not in NODE_CLASSES[node.type].inputs and slot.link is not None:
            inputs[slot.name] = f"link {shown(slot.link)}"  # the reader refuses inputs that it does not know
            continue
        source = _source(nodes, links, node, slot)
        if isinstance(source, _Value):
            inputs[slot.name] = source.value
        elif source is not None:
            inputs[slot.name] = source
    text = inputs.get("text")
    if node.type == "CLIPTextEncode" and isinstance(text, str):
        inputs["text"] = expand(text, node.place("text"))
    return inputs


def _slots(entries: object) -> list[_Slot]:
    slots: list[_Slot] = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            name, kind, link, widget = (entry.get(key) for key in ("name", "type", "link", "widget"))
            if isinstance(widget, dict):
                name = widget.get("name")
            slots.append(
                _Slot(
                    name=name if isinstance(name, str) else "",
                    type=kind if isinstance(kind, str) else "",
                    link=None if link is None else node_id(link) or "",
                    is_widget=isinstance(widget, dict),
                )
            )
    return slots


def _nodes(graph: Mapping[str, object]) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    entries = graph.get("nodes")
    for entry in entries if isinstance(entries, list) else []:
        identity = node_id(entry.get("id")) if isinstance(entry, dict) else None
        if identity is None or not isinstance(entry.get("type"), str) or identity in nodes:
            raise BadRequest("workflow nodes", entry, "objects with an id of their own and a type")
        nodes[identity] = _Node(
            id=identity,
            type=entry["type"],
            mode=entry.get("mode"),
            inputs=_slots(entry.get("inputs")),
            outputs=_slots(entry.get("outputs")),
            widgets=entry.get("widgets_values"),
        )
    if not nodes:
        raise BadRequest("workflow nodes", entries, "at least one node")
    return nodes


def _refuse_subgraphs(graph: Mapping[str, object], nodes: Mapping[str, _Node]) -> None:
    """An active subgraph is refused wherever it stands: an output node may be inside."""
    definitions = graph.get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    names = {
        subgraph["id"]: subgraph.get("name")
        for subgraph in (subgraphs if isinstance(subgraphs, list) else [])
        if isinstance(subgraph, dict) and isinstance(subgraph.get("id"), str)
    }
    for node in nodes.values():
        if (node.type in names or _SUBGRAPH.fullmatch(node.type)) and node.mode not in (_MUTED, _BYPASSED):
            name = names.get(node.type)
            title = shown(name) if isinstance(name, str) else shown(node.type)
            allowed = "a graph without subgraphs and group nodes; ComfyUI's Export (API) unpacks them"
            raise BadRequest(f"workflow node {shown(node.id)}", f"subgraph {title}", allowed)


def _links(graph: Mapping[str, object]) -> dict[str, _Link]:
    """Link id → the node and the output slot that it comes from. A malformed link is as good as none."""
    links: dict[str, _Link] = {}
    entries = graph.get("links")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            parts = [entry.get("id"), entry.get("origin_id"), entry.get("origin_slot")]
        elif isinstance(entry, list) and len(entry) >= 3:
            parts = entry[:3]
        else:
            continue
        link, origin, slot = node_id(parts[0]), node_id(parts[1]), slot_index(parts[2])
        if link is not None and origin is not None and slot is not None:
            links[link] = _Link(origin, slot)
    return links


def _source(
    nodes: Mapping[str, _Node], links: Mapping[str, _Link], node: _Node, target: _Slot
) -> _Link | _Value | None:
    """What feeds ``target`` in the end, past reroutes and bypassed nodes; None if nothing is connected.

    A widget keeps its own value where its link ends at a bypassed node that has nothing to hand on.
    """
    where = node.place(target.name)
    slot = target
    wanted = target.type
    seen: set[_Link] = set()
    while slot.link is not None:
        link = links.get(slot.link)
        if link is None or link.node not in nodes or link in seen or len(seen) > _LONGEST_PATH:
            allowed = "a link that comes from a node of this graph, and not in a circle"
            raise BadRequest(where, f"link {shown(slot.link)}", allowed)
        seen.add(link)
        source = nodes[link.node]
        if source.type == "PrimitiveNode":
            return _primitive(source)
        if source.type != "Reroute" and source.mode not in (_MUTED, _BYPASSED):
            return link
        passed = _passed(source, link.output, wanted)
        if passed is None:
            muted = source.mode == _MUTED and source.type != "Reroute"
            if target.is_widget and not muted:
                return None
            state = "muted" if muted else f"which hands on no {shown(wanted)}"
            raise BadRequest(where, f"node {shown(source.id)} ({shown(source.type)}), {state}", "a node that runs")
        slot = passed
        wanted = wanted if source.type == "Reroute" else passed.type
    return None


def _primitive(source: _Node) -> _Value | None:
    if isinstance(source.widgets, dict):
        return _Value(source.widgets["value"]) if "value" in source.widgets else None
    return _Value(source.widgets[0]) if isinstance(source.widgets, list) and source.widgets else None


def _passed(source: _Node, index: int, wanted: str) -> _Slot | None:
    """The input that a reroute or a bypassed node hands on as its output ``index``; a muted node hands on nothing."""
    if source.type == "Reroute":
        return next(iter(source.inputs), None)
    if source.mode == _MUTED:
        return None
    opposite = source.inputs[index : index + 1]
    if wanted in ("*", ""):
        return next(iter(opposite + source.inputs), None)
    own = source.outputs[index].type if index < len(source.outputs) else ""
    fitting = [slot for slot in opposite + source.inputs if _fits(slot.type, own) and _fits(slot.type, wanted)]
    exact = [slot for slot in source.inputs if slot.type == wanted]
    first = [slot for slot in fitting[:1] if slot in opposite]
    return next(iter(first + exact + fitting), None)


def _fits(one: str, other: str) -> bool:
    if one in ("*", "") or other in ("*", ""):
        return True
    return bool(set(one.lower().split(",")) & set(other.lower().split(",")))


def _widget_values(node: _Node) -> dict[str, object]:
    """The values of a known node's widgets by name; a list holds them in the editor's order."""
    names = NODE_CLASSES[node.type].widgets
    values = node.widgets if node.widgets is not None else []
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items() if name != CONTROL}
    server_names = [name for name in names if name != CONTROL]
    if isinstance(values, list) and len(values) == len(names):
        named = dict(zip(names, values, strict=True))
    elif isinstance(values, list) and len(values) == len(server_names):
        named = dict(zip(server_names, values, strict=True))
    else:
        raise BadRequest(node.place("widgets_values"), values, f"the values of {', '.join(names) or 'no widgets'}")
    return {name: named[name] for name in server_names}
