"""The nodes and links of a graph in editor form, as its file has them. Knows no class of nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.errors import BadRequest
from engine.formats.comfyui.places import node_id, place, slot_index

MUTED = 2
BYPASSED = 4


@dataclass(frozen=True, kw_only=True)
class Slot:
    """An input or output of a node. ``link`` is "" where the file has something that is no id.

    Where the input is a widget's, its name is the widget's, whatever the file calls the input.
    """

    name: str
    type: str
    link: str | None
    is_widget: bool = False


@dataclass(frozen=True, kw_only=True)
class EditorNode:
    """A node; ids of nodes inside subgraphs are those of the nodes around them before a colon: ``70:3``."""

    id: str
    type: str
    mode: object = 0
    inputs: tuple[Slot, ...] = ()
    outputs: tuple[Slot, ...] = ()
    widgets: object = None
    proxies: bool = False
    """Whether widgets of nodes inside it are shown on it, whose values are kept inside."""

    @property
    def is_active(self) -> bool:
        """Whether it is neither muted nor bypassed."""
        return self.mode not in (MUTED, BYPASSED)

    def place(self, name: str = "") -> str:
        """Return the name of the node's place in messages, or that of an input."""
        return place(self.id, self.type, name)


class Link(NamedTuple):
    """Where a link comes from."""

    node: str
    output: int


class Target(NamedTuple):
    """Where a link leads."""

    node: str
    input: int


@dataclass(kw_only=True)
class EditorGraph:
    """Nodes by id, and links by id."""

    nodes: dict[str, EditorNode] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)


def read_slots(entries: object, prefix: str) -> tuple[Slot, ...]:
    """Return the inputs or outputs of a node; ``prefix`` stands before the ids of links."""
    slots: list[Slot] = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            name, kind, link, widget = (entry.get(key) for key in ("name", "type", "link", "widget"))
            if isinstance(widget, dict):
                name = widget.get("name")
            identity = node_id(link)
            slots.append(
                Slot(
                    name=name if isinstance(name, str) else "",
                    type=kind if isinstance(kind, str) else "",
                    link=None if link is None else "" if identity is None else prefix + identity,
                    is_widget=isinstance(widget, dict),
                )
            )
    return tuple(slots)


def read_nodes(entries: object, prefix: str) -> dict[str, EditorNode]:
    """Return the nodes of a graph by id. Raises ``BadRequest`` for nodes without an id of their own or a type."""
    nodes: dict[str, EditorNode] = {}
    for entry in entries if isinstance(entries, list) else []:
        identity = node_id(entry.get("id")) if isinstance(entry, dict) else None
        if identity is None or not isinstance(entry.get("type"), str) or prefix + identity in nodes:
            raise BadRequest("workflow nodes", entry, "objects with an id of their own and a type")
        nodes[prefix + identity] = read_node(entry, prefix + identity, prefix)
    return nodes


def read_node(entry: Mapping[str, object], identity: str, prefix: str) -> EditorNode:
    """Return the node that an entry describes."""
    properties = entry.get("properties")
    return EditorNode(
        id=identity,
        type=str(entry["type"]),
        mode=entry.get("mode"),
        inputs=read_slots(entry.get("inputs"), prefix),
        outputs=read_slots(entry.get("outputs"), prefix),
        widgets=entry.get("widgets_values"),
        proxies=isinstance(properties, dict) and bool(properties.get("proxyWidgets")),
    )


def read_links(entries: object, prefix: str) -> Iterator[tuple[str, Link, Target | None]]:
    """Return the links of a graph: id, origin and target. A malformed link is as good as none."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            parts = [entry.get(key) for key in keys]
        elif isinstance(entry, list) and len(entry) >= 3:
            parts = [*entry[:5], None, None][:5]
        else:
            continue
        link, origin, slot = node_id(parts[0]), node_id(parts[1]), slot_index(parts[2])
        target, end = node_id(parts[3]), slot_index(parts[4])
        if link is not None and origin is not None and slot is not None:
            to = Target(prefix + target, end) if target is not None and end is not None else None
            yield prefix + link, Link(prefix + origin, slot), to


def linked(slot: Slot, link: str | None) -> Slot:
    """Return ``slot`` with another link."""
    return dataclasses.replace(slot, link=link)
