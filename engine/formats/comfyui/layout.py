"""The API form of the workflow that this project writes → its editor form: positions, sizes, links, widgets.

Knows where the mission's own workflow puts its nodes; knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.formats.comfyui.dynamic_prompt import escape
from engine.formats.comfyui.nodes import CONTROL, NODE_CLASSES

_LAYOUT: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "4": ((26, 474), (315, 98)),
    "5": ((473, 609), (315, 106)),
    "10": ((26, 334), (315, 58)),
    "7": ((413, 389), (425, 180)),
    "6": ((415, 186), (422, 164)),
    "3": ((863, 186), (315, 262)),
    "8": ((1209, 188), (210, 46)),
    "9": ((1451, 189), (210, 58)),
}
"""Node → position and size in pixels, in the order in which the nodes run."""


def editor_from_api(api: Mapping[str, Any]) -> dict[str, object]:
    """The editor form of a graph that ``engine.formats.comfyui.api_workflow`` wrote.

    Prompts are escaped, so that the editor sends them as they are; the seed's control is "fixed".
    """
    order = [node for node in _LAYOUT if node in api]
    links: list[list[object]] = []
    nodes = {node: _node(node, api[node], order.index(node)) for node in order}
    for target in order:
        for slot, (name, kind) in enumerate(NODE_CLASSES[api[target]["class_type"]].links.items()):
            origin, output = api[target]["inputs"][name]
            link = len(links) + 1
            links.append([link, int(origin), output, int(target), slot, kind])
            nodes[target]["inputs"].append({"name": name, "type": kind, "link": link})
            nodes[origin]["outputs"][output]["links"].append(link)
    return {
        "last_node_id": max(map(int, order)),
        "last_link_id": len(links),
        "nodes": list(nodes.values()),
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _node(node: str, api: Mapping[str, Any], order: int) -> dict[str, Any]:
    class_type = api["class_type"]
    position, size = _LAYOUT[node]
    values = {**api["inputs"], CONTROL: "fixed"}
    if class_type == "CLIPTextEncode":
        values["text"] = escape(values["text"])
    return {
        "id": int(node),
        "type": class_type,
        "pos": list(position),
        "size": list(size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [],
        "outputs": [
            {"name": kind, "type": kind, "links": [], "slot_index": slot}
            for slot, kind in enumerate(NODE_CLASSES[class_type].outputs)
        ],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": [values[name] for name in NODE_CLASSES[class_type].widgets],
    }
