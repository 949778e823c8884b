"""The editor form of a ComfyUI graph → its API form, as the editor itself does it when a graph is queued.

Knows links, widgets, reroutes, primitives, and bypassed and muted nodes; does not know what the nodes mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import BadRequest
from engine.formats.comfyui.editing.dynamic_prompt import expand
from engine.formats.comfyui.editing.nodes import MUTED, EditorGraph, EditorNode, Link, Slot
from engine.formats.comfyui.editing.subgraphs import expanded
from engine.formats.comfyui.places import no_output, shown
from engine.formats.comfyui.table import CONTROL, OUTPUT_CLASSES, ROWS, Row

_LONGEST_PATH = 100
_EDITORS_OWN = ("Note", "MarkdownNote", "PrimitiveNode", "Reroute")
"""Classes that the editor alone has: none of them can be an output."""
_CONTROLS = ("fixed", "increment", "decrement", "randomize")
"""The values of the widget ``CONTROL``; old files have true and false."""


@dataclass(frozen=True)
class _Value:
    """What a primitive hands to a widget."""

    value: object


def api_from_editor(graph: Mapping[str, object]) -> dict[str, object]:
    """Return the API form of what the output nodes of ``graph`` depend on.

    Notes and all that no output depends on are left out, whatever they are. Raises ``BadRequest``, naming node and
    class, for links that lead nowhere, in a circle or to a muted node, for widgets that do not fit their class, and
    where no output node is active.
    """
    flat = expanded(graph)
    active = [node for node in flat.nodes.values() if node.is_active]
    queue = [node.id for node in active if node.type in OUTPUT_CLASSES]
    if not queue:
        raise no_output((node.type for node in active), {*ROWS, *_EDITORS_OWN}, OUTPUT_CLASSES)
    api: dict[str, object] = {}
    for reached in queue:  # grows while it is walked
        if reached not in api:
            node = flat.nodes[reached]
            inputs = _inputs(flat, node) if node.type in ROWS else {}
            queue += [value.node for value in inputs.values() if isinstance(value, Link)]
            plain = {name: list(value) if isinstance(value, Link) else value for name, value in inputs.items()}
            api[reached] = {"class_type": node.type, "inputs": plain}
    return api


def _inputs(flat: EditorGraph, node: EditorNode) -> dict[str, object]:
    """A known node's inputs by name: plain values and links."""
    row = ROWS[node.type]
    inputs = _widget_values(node)
    for slot in {slot.name: slot for slot in node.inputs if slot.name in row.inputs}.values():
        source = _source(flat, node, slot)
        if isinstance(source, _Value):
            inputs[slot.name] = source.value
        elif source is not None:
            inputs[slot.name] = source
    for name, known in row.inputs.items():
        text = inputs.get(name)
        if known.hints.get("dynamicPrompts") and isinstance(text, str):
            inputs[name] = expand(text, node.place(name))
    return inputs


def _source(flat: EditorGraph, node: EditorNode, target: Slot) -> Link | _Value | None:
    """What feeds ``target`` in the end, past reroutes and bypassed nodes; None if nothing is connected.

    A widget keeps its own value where its link ends at a bypassed node that has nothing to hand on.
    """
    where = node.place(target.name)
    slot = target
    wanted = target.type
    seen: set[Link] = set()
    while slot.link is not None:
        link = flat.links.get(slot.link)
        if link is None or link.node not in flat.nodes or link in seen or len(seen) > _LONGEST_PATH:
            allowed = "a link that comes from a node of this graph, and not in a circle"
            raise BadRequest(where, f"link {shown(slot.link)}", allowed)
        seen.add(link)
        source = flat.nodes[link.node]
        if source.type == "PrimitiveNode":
            return _primitive(source)
        if source.type != "Reroute" and source.is_active:
            return link
        passed = _passed(source, link.output, wanted)
        if passed is None:
            muted = source.mode == MUTED and source.type != "Reroute"
            if target.is_widget and not muted:
                return None
            state = "muted" if muted else f"which hands on no {shown(wanted)}"
            raise BadRequest(where, f"node {shown(source.id)} ({shown(source.type)}), {state}", "a node that runs")
        slot = passed
        wanted = wanted if source.type == "Reroute" else passed.type
    return None


def _primitive(source: EditorNode) -> _Value | None:
    if isinstance(source.widgets, dict):
        return _Value(source.widgets["value"]) if "value" in source.widgets else None
    return _Value(source.widgets[0]) if isinstance(source.widgets, list) and source.widgets else None


def _passed(source: EditorNode, index: int, wanted: str) -> Slot | None:
    """The input that a reroute or a bypassed node hands on as its output ``index``; a muted node hands on nothing."""
    if source.type == "Reroute":
        return next(iter(source.inputs), None)
    if source.mode == MUTED:
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


def _widget_values(node: EditorNode) -> dict[str, object]:
    """The values of a known node's widgets by name; a list holds them in the editor's order.

    Values behind those that the class has are of widgets that extensions add.
    """
    row = ROWS[node.type]
    values = node.widgets if node.widgets is not None else []
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items() if name != CONTROL}
    for names in (row.widgets, tuple(name for name in row.widgets if name != CONTROL)):
        if isinstance(values, list) and _fit(row, names, values):
            return {name: value for name, value in zip(names, values, strict=False) if _is_own(row, name, value)}
    raise BadRequest(node.place("widgets_values"), values, f"the values of {', '.join(row.widgets) or 'no widgets'}")


def _fit(row: Row, names: Sequence[str], values: Sequence[object]) -> bool:
    """Whether ``values`` suit the widgets ``names``; the last may be missing where a graph may leave them out."""
    missing = names[len(values) :]
    controls = [value for name, value in zip(names, values, strict=False) if name == CONTROL]
    return all(value is None or isinstance(value, bool) or value in _CONTROLS for value in controls) and all(
        name != CONTROL and row.inputs[name].may_be_absent for name in missing
    )


def _is_own(row: Row, name: str, value: object) -> bool:
    """Whether a value is the class's. Extensions put theirs where those that only this engine has would be."""
    if name == CONTROL:
        return False
    if not row.inputs[name].ours:
        return True
    try:
        row.inputs[name].read(name, value)
    except BadRequest:
        return False
    return True
