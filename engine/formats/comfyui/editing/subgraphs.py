"""Subgraphs of the editor form, nested ones too, and group nodes → the nodes inside them, as the editor expands them.

Where an input or output of a subgraph is passed, a reroute stands for it afterwards. Knows no class of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.editing.group_nodes import expand_group
from engine.formats.comfyui.editing.nodes import EditorGraph, EditorNode, Link, Slot, read_links, read_nodes
from engine.formats.comfyui.places import node_id, shown

_DEEPEST = 20
_MOST_NODES = 50_000
_INPUT_NODE = "-10"
_OUTPUT_NODE = "-20"
_GROUP = ("workflow>", "workflow/")


class _Level(NamedTuple):
    """A graph to be read: the file's own, or a subgraph of it."""

    prefix: str
    graph: Mapping[str, Any]
    depth: int


def expanded(graph: Mapping[str, object]) -> EditorGraph:
    """Return the nodes and links of ``graph`` with those inside its active subgraphs and group nodes in their place.

    Raises ``BadRequest`` for nodes that are malformed, and for a subgraph that contains itself or has no definition.
    """
    subgraphs, groups = _subgraphs(graph), _groups(graph)
    flat = EditorGraph()
    opened: set[str] = set()
    levels = [_Level("", graph, 0)]
    while levels:
        level = levels.pop()
        nodes = read_nodes(level.graph.get("nodes"), level.prefix)
        if len(flat.nodes) + len(nodes) > _MOST_NODES:
            raise BadRequest("workflow nodes", "more", f"at most {_MOST_NODES} nodes, those in subgraphs counted")
        flat.nodes |= nodes
        flat.links |= {link: origin for link, origin, _ in read_links(level.graph.get("links"), level.prefix)}
        for node in nodes.values():
            definition = subgraphs.get(node.type)
            if not node.is_active or (definition is None and not node.type.startswith(_GROUP)):
                continue
            opened.add(node.id)
            if definition is None:
                expand_group(flat, node, _group_of(groups, node))
                continue
            if level.depth >= _DEEPEST:
                raise BadRequest(node.place(), f"subgraph {_name(definition)}", f"subgraphs at most {_DEEPEST} deep")
            _pass_through(flat, node, definition)
            levels.append(_Level(f"{node.id}:", definition, level.depth + 1))
    if not flat.nodes:
        raise BadRequest("workflow nodes", graph.get("nodes"), "at least one node")
    for link, (origin, slot) in flat.links.items():
        if origin in opened:
            flat.links[link] = Link(output_of(origin, slot), 0)
    _enter(flat)
    for identity in opened:
        del flat.nodes[identity]
    return flat


def output_of(identity: str, slot: int) -> str:
    """Return the id of the reroute that stands for an output of a subgraph or group node."""
    return f"{identity}>{slot}"


def _input_of(identity: str, slot: int) -> str:
    return f"{identity}<{slot}"


def _enter(flat: EditorGraph) -> None:
    """Let links from a subgraph's own input node come from the reroutes that stand for its inputs."""
    for link, (origin, slot) in flat.links.items():
        outer, _, inner = origin.rpartition(":")
        if inner == _INPUT_NODE and _input_of(outer, slot) in flat.nodes:
            flat.links[link] = Link(_input_of(outer, slot), 0)


def _pass_through(flat: EditorGraph, node: EditorNode, definition: Mapping[str, Any]) -> None:
    """Add what stands for the inputs and outputs of a subgraph."""
    values = _own_values(node)
    for slot, entry in enumerate(_entries(definition, "inputs")):
        name = entry.get("name")
        same = node.inputs[slot : slot + 1] if len(node.inputs) == len(_entries(definition, "inputs")) else ()
        given = next(iter([each for each in node.inputs if each.name == name] or same), None)
        identity = _input_of(node.id, slot)
        if given is not None and given.link is None and given.name in values:
            flat.nodes[identity] = EditorNode(id=identity, type="PrimitiveNode", widgets=[values[given.name]])
        else:
            through = given or Slot(name="", type="*", link=None)
            flat.nodes[identity] = EditorNode(id=identity, type="Reroute", inputs=(through,))
    prefix = f"{node.id}:"
    ends = {to: link for link, _, to in read_links(definition.get("links"), prefix) if to is not None}
    for slot, _ in enumerate(_entries(definition, "outputs")):
        identity = output_of(node.id, slot)
        link = next((link for to, link in ends.items() if to == (prefix + _OUTPUT_NODE, slot)), None)
        through = Slot(name="", type="*", link=link)
        flat.nodes[identity] = EditorNode(id=identity, type="Reroute", inputs=(through,))


def _own_values(node: EditorNode) -> dict[str, object]:
    """The values of the widgets that a subgraph's node shows for its inputs, by name."""
    names = [slot.name for slot in node.inputs if slot.is_widget]
    if isinstance(node.widgets, dict):
        return {name: node.widgets[name] for name in names if name in node.widgets}
    if isinstance(node.widgets, list) and len(node.widgets) == len(names) and not node.proxies:
        return dict(zip(names, node.widgets, strict=True))
    return {}


def _entries(definition: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = definition.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _subgraphs(graph: Mapping[str, object]) -> dict[str, Mapping[str, Any]]:
    definitions = graph.get("definitions")
    found = _entries(definitions, "subgraphs") if isinstance(definitions, dict) else []
    return {each["id"]: each for each in found if isinstance(each.get("id"), str)}


def _groups(graph: Mapping[str, object]) -> Mapping[str, Any]:
    extra = graph.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, dict) else None
    return groups if isinstance(groups, dict) else {}


def _group_of(groups: Mapping[str, Any], node: EditorNode) -> Mapping[str, Any]:
    group = groups.get(node.type[len(_GROUP[0]) :])
    if not isinstance(group, dict):
        raise BadRequest(node.place(), f"group node {shown(node.type)}", "a group node that extra.groupNodes defines")
    return group


def _name(definition: Mapping[str, Any]) -> str:
    name = definition.get("name")
    return shown(name if isinstance(name, str) else node_id(definition.get("id")) or "")
