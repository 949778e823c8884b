"""Writes problems in ComfyUI's words, and names the node that a prompt was refused for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from engine import BadRequest
from engine.formats.comfyui.places import place
from engine.formats.comfyui.table import ROWS
from server.dialects.comfyui.graph import Course, Nodes, output_nodes
from server.dialects.comfyui.object_info import Offer, input_config
from server.problems import Problem

_LARGEST_VALUE = 1000
"""The most characters of a refused value that are sent back."""


@dataclass(eq=False, kw_only=True)
class PromptRefused(Problem):
    """A graph that this server does not carry out, in ComfyUI's words."""

    extra_info: Mapping[str, Any] = field(default_factory=dict)
    node_errors: Mapping[str, Any] = field(default_factory=dict)
    """Node id → its errors, its class, and the output nodes that are not run because of them."""


def error_response(problem: Problem) -> Response:
    refused = problem if isinstance(problem, PromptRefused) else None
    error = {
        "type": problem.kind,
        "message": problem.title,
        "details": problem.detail,
        "extra_info": dict(refused.extra_info) if refused else {},
    }
    return JSONResponse(
        {"error": error, "node_errors": dict(refused.node_errors) if refused else {}}, status_code=problem.status
    )


def invalid_prompt(detail: str, kind: str = "invalid_prompt", **extra_info: object) -> PromptRefused:
    """Return a 400 for something that is no graph, or one that could not be read."""
    return PromptRefused(status=400, kind=kind, title="Invalid prompt", detail=detail, extra_info=extra_info)


def missing_node(id: str, node: Mapping[str, Any]) -> PromptRefused:
    """Return a 400 for a class of node that is not known here."""
    class_type = node["class_type"]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    info = {"node_id": id, "class_type": class_type, "node_title": title if isinstance(title, str) else class_type}
    known = ", ".join(ROWS)
    detail = f"{place(id, class_type)}: there is no such node here; this server carries out graphs of {known}"
    error = _node_error("missing_node_type", "Unknown class of node", detail, {})
    return PromptRefused(
        status=400,
        kind="missing_node_type",
        title=f"Node {_short(id)!r} is a {_short(class_type)!r}, which is not known here",
        detail=detail,
        extra_info=info,
        node_errors={id: {"errors": [error], "dependent_outputs": [], "class_type": class_type}},
    )


def refused(nodes: Nodes, error: BadRequest | Problem, offer: Offer) -> Problem:
    """Return why a graph is not carried out, with the node at fault where that is known.

    ``error`` names a place in the graph (``workflow node 3 (KSampler) steps``) or a parameter (``width``).
    """
    problem = error if isinstance(error, Problem) else None
    where = error.field or ""
    course = Course(nodes, tuple(output_nodes(nodes)))
    at = course.node_of(where) or _node_in(nodes, where)
    detail = str(error)
    if at is None:
        if problem is not None:
            return problem
        kind = "invalid_prompt" if course.outputs else "prompt_no_outputs"
        return invalid_prompt(detail, kind)
    id, name = at
    value = error.value if isinstance(error, BadRequest) else nodes[id]["inputs"].get(name)
    if course.node_of(where) is not None:
        detail = f"{place(id, course.class_of(id), name)}: {detail}"
    config = input_config(str(nodes[id]["class_type"]), name, offer)
    kind = _kind_of(nodes[id], name, value, config)
    info = {"input_name": name, "input_config": config, "received_value": _shown(value)}
    entry = {
        "errors": [_node_error(kind, kind.replace("_", " ").capitalize(), detail, info)],
        "dependent_outputs": [output for output in course.outputs if id in Course(nodes, (output,)).order],
        "class_type": nodes[id]["class_type"],
    }
    return PromptRefused(
        status=problem.status if problem else 400,
        kind="prompt_outputs_failed_validation",
        title="The prompt's outputs cannot be made",
        detail=detail,
        field=where,
        headers=problem.headers if problem else {},
        node_errors={id: entry},
    )


def _node_in(nodes: Nodes, where: str) -> tuple[str, str] | None:
    """Find the node and the input that a place in words names."""
    found: tuple[str, str] | None = None
    longest = -1
    for id, node in nodes.items():
        start = place(id, str(node["class_type"]))
        if (where == start or where.startswith(f"{start} ")) and len(start) > longest:
            found, longest = (id, where[len(start) + 1 :]), len(start)
    return found


def _kind_of(node: Mapping[str, Any], name: str, value: object, config: list[Any] | None) -> str:
    """Return ComfyUI's word for what is wrong with an input."""
    inputs = node.get("inputs")
    if config is None or not isinstance(inputs, dict):
        return "custom_validation_failed"
    if name not in inputs:
        return "required_input_missing"
    if isinstance(inputs[name], list) or name in ROWS[node["class_type"]].links:
        return "bad_linked_input"
    if isinstance(config[0], list):
        return "value_not_in_list"
    taken = str if config[0] == "STRING" else int | float
    if isinstance(value, bool) or not isinstance(value, taken):
        return "invalid_input_type"
    if isinstance(value, str):
        return "custom_validation_failed"
    limits = config[1]
    if value < limits.get("min", value):
        return "value_smaller_than_min"
    return "value_bigger_than_max" if value > limits.get("max", value) else "custom_validation_failed"


def _node_error(kind: str, message: str, details: str, extra_info: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": dict(extra_info)}


def _shown(value: object) -> object:
    """Return a refused value as JSON if it is short enough to be sent back, else the start of it as text."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = str(value)
        value = text
    return value if len(text) <= _LARGEST_VALUE else f"{text[:_LARGEST_VALUE]}…"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
