"""Writes problems in ComfyUI's words, and names the node that a prompt was refused for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from engine import BadRequest
from engine.errors import MOST_SAID
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


def refused(nodes: Nodes, error: BadRequest | Problem, offer: Offer) -> Problem:
    """Return why a graph is not carried out, with all nodes at fault where these are known.

    ``error`` names places in the graph (``workflow node 3 (KSampler) steps``) or a parameter (``width``).
    """
    course = Course(nodes, tuple(output_nodes(nodes)))
    mistakes = error.all if isinstance(error, BadRequest) else (error,)
    placed = [(mistake, _at(course, mistake.field or "")) for mistake in mistakes]
    unplaced = next((mistake for mistake, at in placed if at is None), None)
    if isinstance(unplaced, Problem):
        return unplaced
    if unplaced is not None:
        return invalid_prompt(str(unplaced), "invalid_prompt" if course.outputs else "prompt_no_outputs")
    behind = {output: set(Course(nodes, (output,)).order) for output in course.outputs}
    entries: dict[str, dict[str, Any]] = {}
    details: list[str] = []
    for mistake, at in placed:
        assert at is not None
        one = _error_at(nodes, mistake, *at, offer)
        details.append(one["details"])
        dependent = [output for output in course.outputs if at[0] in behind[output]]
        entry = {"errors": [], "dependent_outputs": dependent, "class_type": nodes[at[0]]["class_type"]}
        entries.setdefault(at[0], entry)["errors"].append(one)
    unknown = [id for id in entries if nodes[id]["class_type"] not in ROWS]
    unsaid = len(details) - MOST_SAID
    return PromptRefused(
        status=error.status if isinstance(error, Problem) else 400,
        kind="missing_node_type" if unknown else "prompt_outputs_failed_validation",
        title=_missing(nodes, unknown) if unknown else "The prompt's outputs cannot be made",
        detail="; and ".join(details[:MOST_SAID]) + (f"; and {unsaid} more" if unsaid > 0 else ""),
        field=error.field,
        headers=error.headers if isinstance(error, Problem) else {},
        extra_info=_info_of(unknown[0], nodes[unknown[0]]) if unknown else {},
        node_errors=entries,
    )


def _missing(nodes: Nodes, ids: Sequence[str]) -> str:
    named = [f"{_short(id)} ({_short(nodes[id]['class_type'])})" for id in ids[:MOST_SAID]]
    more = ", …" if len(ids) > len(named) else ""
    return f"Nodes of classes that are not known here: {', '.join(named)}{more}"


def _info_of(id: str, node: Mapping[str, Any]) -> dict[str, str]:
    """Return what ComfyUI says of the first node whose class is missing."""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    class_type = node["class_type"]
    return {"node_id": id, "class_type": class_type, "node_title": title if isinstance(title, str) else class_type}


def _at(course: Course, where: str) -> tuple[str, str] | None:
    return course.node_of(where) or course.input_at(where)


def _error_at(nodes: Nodes, mistake: BadRequest | Problem, id: str, name: str, offer: Offer) -> dict[str, Any]:
    """Return one of a node's errors, in ComfyUI's words."""
    inputs, class_type = nodes[id].get("inputs", {}), nodes[id]["class_type"]
    value = mistake.value if isinstance(mistake, BadRequest) else inputs.get(name)
    where = place(id, class_type, name)
    detail = mistake.alone if isinstance(mistake, BadRequest) else mistake.detail
    if mistake.field != where:
        detail = f"{where}: {detail}"
    config = input_config(class_type, name, offer)
    kind = _kind_of(nodes[id], name, value, config)
    info = {"input_name": name, "input_config": config, "received_value": _shown(value)}
    message = kind.replace("_", " ").capitalize()
    return {"type": kind, "message": message, "details": detail, "extra_info": info}


def _kind_of(node: Mapping[str, Any], name: str, value: object, config: list[Any] | None) -> str:
    """Return ComfyUI's word for what is wrong with an input."""
    inputs = node.get("inputs")
    if node["class_type"] not in ROWS:
        return "missing_node_type"
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
