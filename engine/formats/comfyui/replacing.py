"""Reads a graph some of whose values a caller replaces, as a flag or a query does: those need not be readable.

Knows no request's values, only the names of those that are replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.comfyui.forms import api_form
from engine.formats.comfyui.places import place
from engine.formats.comfyui.reader import workflow_of_api
from engine.formats.comfyui.table import ROWS
from engine.formats.comfyui.to_request import parameter_places
from engine.parameters import REQUIRED
from engine.workflow.workflow import Workflow


def read_replaced(graph: object, replaced: Collection[str]) -> Workflow:
    """Return the workflow of a graph, with the class's default for each value in ``replaced`` that cannot be read.

    ``replaced``: the names of the parameters of the request that the graph stands for. Raises ``BadRequest`` as
    ``read_workflow``, also for a value that cannot be read and is not one of these.
    """
    api = api_form(graph)
    try:
        return workflow_of_api(api)
    except BadRequest as error:
        mistakes = {each.field: each for each in error.all}
        whole = _with_defaults(api, mistakes) if replaced else None
        if whole is None:
            raise
    workflow = workflow_of_api(whole)
    try:
        places = parameter_places(workflow)
    except BadRequest:
        raise BadRequest.together(list(mistakes.values())) from None
    left = mistakes.keys() - {places[name] for name in replaced if name in places}
    if left:
        raise BadRequest.together([mistakes[place] for place in mistakes if place in left])
    return workflow


def _with_defaults(graph: Mapping[str, Any], places: Iterable[str]) -> dict[str, Any] | None:
    """The graph with defaults at ``places``; None where one of these has none."""
    changed = dict(graph)
    inputs = {
        place(id, row.class_type, name): (id, name, known.default)
        for id, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        for row in [ROWS.get(str(node.get("class_type")))]
        if row is not None
        for name, known in row.inputs.items()
        if known.kind is not None and known.default is not REQUIRED
    }
    for each in places:
        if each not in inputs:
            return None
        id, name, default = inputs[each]
        changed[id] = {**changed[id], "inputs": {**changed[id]["inputs"], name: default}}
    return changed
