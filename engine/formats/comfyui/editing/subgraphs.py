"""Subgraphs of the editor form, nested ones too, and group nodes → the nodes inside them, as the editor expands them.

Where an input or output of a subgraph is passed, a reroute stands for it afterwards. Knows no class of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.editing.group_nodes import expand_group
from engine.formats.comfyui.editing.nodes import EditorGraph, EditorNode, Link, Slot, Target, read_links, read_nodes
from engine.formats.comfyui.places import node_id, shown

_DEEPEST = 20
_MOST_NODES = 50_000
_MOST_VALUES = 500_000
"""JSON values that definitions may have in all, each counted as often as its definition is used."""
_INPUT_NODE = "-10"
_OUTPUT_NODE = "-20"
_GROUP = ("workflow>", "workflow/")


class _Level(NamedTuple):
    """A graph to be read: the file's own, or a subgraph of it."""

    prefix: str
    graph: Mapping[str, Any]
    depth: int


class _Room:
    """How much more definitions may become: a small file may use a large one thousands of times."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES
        self._sizes: dict[str, int] = {}

    def take(self, node: EditorNode, definition: Mapping[str, Any]) -> None:
        """Count one use of the definition, by ``node``. Raises ``BadRequest`` where there is no more room."""
        if node.type not in self._sizes:
            self._sizes[node.type] = _size(definition)
        self._left -= self._sizes[node.type]
        if self._left < 0:
            raise BadRequest(node.place(), shown(node.type), f"subgraphs with {_MOST_VALUES} values in all")


def expanded(graph: Mapping[str, object]) -> EditorGraph:
    """Return the nodes and links of ``graph`` with those inside its active subgraphs and group nodes in their place.

    Raises ``BadRequest`` for malformed nodes, for a subgraph that contains itself or has no definition, and for more
    than ``_MOST_NODES`` or ``_MOST_VALUES``.
    """
    subgraphs, groups = _subgraphs(graph), _groups(graph)
    flat, room = EditorGraph(), _Room()
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
            room.take(node, definition or _group_of(groups, node))
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
    values, entries = _own_values(node), _entries(definition, "inputs")
    by_name = {each.name: each for each in reversed(node.inputs)}  # of two with one name the first
    alike: Sequence[Slot | None] = node.inputs if len(node.inputs) == len(entries) else [None] * len(entries)
    for slot, (entry, same) in enumerate(zip(entries, alike, strict=True)):
        name = entry.get("name")
        given = by_name.get(name, same) if isinstance(name, str) else same
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
        through = Slot(name="", type="*", link=ends.get(Target(prefix + _OUTPUT_NODE, slot)))
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


def _size(value: object) -> int:
    """How many JSON values there are in ``value``, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _name(definition: Mapping[str, Any]) -> str:
    name = definition.get("name")
    return shown(name if isinstance(name, str) else node_id(definition.get("id")) or "")
