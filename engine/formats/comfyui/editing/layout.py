"""The API form of a graph → its editor form: positions, sizes, links, widgets.

Nodes stand in columns behind those that they are linked to; ComfyUI's default workflow is laid out as ComfyUI does it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from engine.formats.comfyui.editing.dynamic_prompt import escape
from engine.formats.comfyui.places import node_id, slot_index
from engine.formats.comfyui.table import CONTROL, ROWS, Input, Row

_DEFAULT: Mapping[tuple[str, str], tuple[tuple[int, int], tuple[int, int]]] = {
    ("4", "CheckpointLoaderSimple"): ((26, 474), (315, 98)),
    ("5", "EmptyLatentImage"): ((473, 609), (315, 106)),
    ("10", "CLIPSetLastLayer"): ((26, 334), (315, 58)),
    ("7", "CLIPTextEncode"): ((413, 389), (425, 180)),
    ("6", "CLIPTextEncode"): ((415, 186), (422, 164)),
    ("3", "KSampler"): ((863, 186), (315, 262)),
    ("8", "VAEDecode"): ((1209, 188), (210, 46)),
    ("9", "SaveImage"): ((1451, 189), (210, 58)),
}
"""Id and class → position and size in pixels, in the order in which the nodes run."""

_COLUMN = 400
_ROW = 26
_GAP = 60
_TEXT = 120
_WIDTH = 315


def editor_of(api: Mapping[str, Any]) -> dict[str, Any]:
    """Return the editor form of a graph in API form that ``read_workflow`` reads.

    Nodes of unknown classes are left out. Prompts are escaped, so that the editor sends them as they are, and the
    control of each seed is "fixed". Ids that are no numbers are replaced, for the editor knows nodes by numbers.
    """
    graph = {id: node for id, node in api.items() if isinstance(node, Mapping) and node.get("class_type") in ROWS}
    default = all((id, node["class_type"]) in _DEFAULT for id, node in graph.items())
    columns = {} if default else _columns(graph)
    order = [id for id, _ in _DEFAULT if id in graph] if default else sorted(graph, key=lambda id: columns[id])
    numbers = _numbers(order)
    nodes = {id: _node(numbers[id], graph[id], index) for index, id in enumerate(order)}
    if not default:
        _place(nodes, columns)
    links: list[list[object]] = []
    for target in order:
        for known, origin, output in _linked(graph, target):
            slots = nodes[target]["inputs"]
            link = len(links) + 1
            kind = known.type
            links.append([link, numbers[origin], output, numbers[target], len(slots), kind])
            widget = {} if known.linked else {"widget": {"name": known.name}}
            slots.append({"name": known.name, "type": kind, "link": link, **widget})
            nodes[origin]["outputs"][output]["links"].append(link)
    return {
        "last_node_id": max(numbers.values(), default=0),
        "last_link_id": len(links),
        "nodes": list(nodes.values()),
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _linked(graph: Mapping[str, Any], id: str) -> Iterator[tuple[Input, str, int]]:
    """The linked inputs of a node, with the node and the output that they are linked to."""
    inputs = graph[id].get("inputs", {})
    for name, known in ROWS[graph[id]["class_type"]].inputs.items():
        value = inputs.get(name)
        if not isinstance(value, list | tuple) or len(value) != 2:
            continue
        source, slot = node_id(value[0]), slot_index(value[1])
        if source is None or slot is None or source not in graph:
            continue
        if slot < len(ROWS[graph[source]["class_type"]].outputs):
            yield known, source, slot


def _columns(graph: Mapping[str, Any]) -> dict[str, int]:
    """Node → its column: behind all nodes that it is linked to."""
    columns: dict[str, int] = {}
    for end in graph:
        stack = [end]
        waiting: set[str] = set()  # for the columns of their sources; one among its own sources is in a circle
        while stack:
            id = stack[-1]
            sources = [origin for _, origin, _ in _linked(graph, id)]
            missing = [origin for origin in sources if origin not in columns and origin not in waiting]
            if id not in columns and missing:
                waiting.add(id)
                stack += missing
                continue
            stack.pop()
            waiting.discard(id)
            columns.setdefault(id, 1 + max((columns.get(origin, 0) for origin in sources), default=-1))
    return columns


def _numbers(ids: list[str]) -> dict[str, int]:
    """Id → the number that the editor knows the node by."""
    numbers = {id: int(id) for id in ids if id.isascii() and id.isdigit() and len(id) < 10 and str(int(id)) == id}
    fresh = max(numbers.values(), default=0)
    for id in ids:
        if id not in numbers:
            fresh += 1
            numbers[id] = fresh
    return numbers


def _node(number: int, api: Mapping[str, Any], order: int) -> dict[str, Any]:
    class_type = api["class_type"]
    row, inputs = ROWS[class_type], api.get("inputs", {})
    position, size = _DEFAULT.get((str(number), class_type), ((0, 0), (_WIDTH, _height(class_type))))
    return {
        "id": number,
        "type": class_type,
        "pos": list(position),
        "size": list(size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [],
        "outputs": [
            {"name": each.name, "type": each.type, "links": [], "slot_index": slot}
            for slot, each in enumerate(row.outputs)
        ],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": [_widget(row, name, inputs) for name in _widgets(row, inputs)],
    }


def _widgets(row: Row, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the values that are kept: those that ComfyUI does not know come last, and only if any is given."""
    return row.widgets if any(name in inputs for name in row.own) else row.comfyui_widgets


def _widget(row: Row, name: str, inputs: Mapping[str, Any]) -> object:
    """The value that the editor keeps; behind a link it is one that nothing reads."""
    if name == CONTROL:
        return "fixed"
    known, value = row.inputs[name], inputs.get(name)
    if value is None or isinstance(value, list | tuple):
        return known.default
    return escape(value) if isinstance(value, str) and known.hints.get("dynamicPrompts") else value


@functools.cache
def _height(class_type: str) -> int:
    row = ROWS[class_type]
    text = any(each.hints.get("multiline") for each in row.inputs.values())
    return 2 * _ROW + _ROW * (max(len(row.links), len(row.outputs)) + len(row.widgets)) + (_TEXT if text else 0)


def _place(nodes: Mapping[str, dict[str, Any]], columns: Mapping[str, int]) -> None:
    """Put the nodes of each column below one another."""
    below: dict[int, int] = {}
    for id, node in nodes.items():
        column = columns[id]
        top = below.get(column, 0)
        node["pos"] = [column * _COLUMN, top]
        below[column] = top + node["size"][1] + _GAP
