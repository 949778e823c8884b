"""Reads what is posted to ``/prompt`` into a new job. Knows no database and no sockets."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import BadRequest, Workflow
from engine.errors import MOST_SAID
from engine.formats.comfyui.places import place
from engine.formats.comfyui.table import OUTPUT_CLASSES
from engine.workflow.pictures import SavePictures
from server.dialects.comfyui.bodies import flag, id_list
from server.dialects.comfyui.errors import PromptRefused, invalid_prompt
from server.dialects.comfyui.graph import Nodes, output_nodes, unknown_nodes, without_outputs
from server.dialects.comfyui.names import PREVIEWS, resolved
from server.inputs.input import Input
from server.job import JOB_ID, JOB_ID_RULE, NewJob
from server.problems import Problem, bad_request
from server.task import LARGEST_GRAPH

_LONGEST_CLIENT = 200
_LARGEST = LARGEST_GRAPH
"""The most bytes of graph and ``extra_data`` together, which are sent with every look at the queue."""

_MOST_NODES = 1000
"""The most nodes of a graph: all of them are reported with each step."""

_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""Credentials for comfy.org that its editor sends along; they are never kept."""

_PREVIEWS = {"none": False, "default": None, "auto": True, "latent2rgb": True, "taesd": True}
"""``extra_data.preview_method`` → whether the client wants previews; None: as if it had said nothing."""

FIRST = 10
"""The priority of a prompt that is to go before those that wait."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A posted prompt that is valid in itself."""

    nodes: Nodes
    outputs: tuple[str, ...]
    id: str
    client_id: str | None
    number: float | None
    front: bool
    extra_data: Mapping[str, Any]
    previews: bool | None
    """Whether the client wants preview pictures; None if it said nothing."""

    def workflow(self) -> Workflow:
        """Return what is carried out. Raises ``BadRequest``, which names all that is wrong with the nodes."""
        return Workflow.from_comfyui(without_outputs(self.nodes, self.outputs))

    def new_job(
        self,
        *,
        client: str,
        first_waiting: int | None,
        previews: bool,
        key: str | None,
        inputs: Mapping[str, Input],
    ) -> NewJob:
        """Return the job. ``first_waiting``: the number of the prompt that waits longest; ``previews``: for clients
        that said nothing; ``inputs``: the pictures that it loads, by their names in the graph.

        Raises ``BadRequest``, which names node, class and input, for what the engine cannot do.
        """
        workflow = self.workflow()
        ahead = self.front or (self.number is not None and first_waiting is not None and self.number < first_waiting)
        return NewJob(
            wanted=(workflow,),
            inputs=inputs,
            dialect="comfyui",
            client=client,
            id=self.id,
            priority=FIRST if ahead else 0,
            idempotency_key=key,
            label=_workflow_id(self.extra_data),
            asked={"prompt": self.nodes, "outputs": self.outputs},
            extra={
                "prompt": dict(self.nodes),
                "outputs": list(self.outputs),
                "names": _prefixes(workflow, self.nodes),
                "extra_data": dict(self.extra_data),
                "number": self.number,
                "front": self.front,
                "previews": previews if self.previews is None else self.previews,
            },
        )


def _prefixes(workflow: Workflow, nodes: Nodes) -> dict[str, str]:
    """Return how the names of each output's pictures begin. Raises ``BadRequest`` at the place of a bad prefix."""
    now = datetime.datetime.now()
    prefixes: dict[str, str] = {}
    for id, output in workflow.outputs.items():
        try:
            prefixes[id] = resolved(output.prefix, nodes, now) if isinstance(output, SavePictures) else PREVIEWS
        except BadRequest as error:
            raise workflow.located(BadRequest(error.field, error.value, error.allowed, node=output)) from None
    return prefixes


def read_prompt(body: dict[str, Any]) -> Prompt:
    """Return the prompt that ``body`` posts. Raises ``Problem`` in ComfyUI's kinds."""
    if "prompt" not in body:
        raise _no_prompt()
    nodes = _nodes(body["prompt"])
    extra_data = _extra_data(body)
    if len(json.dumps([nodes, extra_data], ensure_ascii=False).encode()) > _LARGEST:
        raise _too_large()
    return Prompt(
        nodes=nodes,
        outputs=_outputs(nodes, body),
        id=_id(body),
        client_id=extra_data.get("client_id"),
        number=_number(body),
        front=flag(body, "front"),
        extra_data=extra_data,
        previews=_previews(extra_data),
    )


def _nodes(graph: object) -> dict[str, Any]:
    if not isinstance(graph, dict) or not graph:
        raise invalid_prompt("prompt: a graph in API form is expected: {node id: {class_type, inputs}}")
    if isinstance(graph.get("nodes"), list):
        raise invalid_prompt("prompt: this is the editor's own format; the API form is expected (Export (API))")
    if len(graph) > _MOST_NODES:
        raise invalid_prompt(f"prompt: {len(graph)} nodes; at most {_MOST_NODES} are taken")
    for id, node in graph.items():
        if not isinstance(node, dict):
            raise invalid_prompt(f"node {id[:60]!r} is no object with a class_type and inputs", node_id=id[:60])
    if nameless := [id for id, node in graph.items() if not isinstance(node.get("class_type"), str)]:
        raise _no_class(graph, nameless)
    for id, node in graph.items():
        if not isinstance(node.get("inputs", {}), dict):
            raise invalid_prompt(f"{place(id, node['class_type'])}: inputs must be an object", node_id=id[:60])
    return graph


def _no_class(graph: Mapping[str, Any], ids: Sequence[str]) -> Problem:
    """Return the refusal of nodes without a class, as the editor sends those that it does not know."""
    titles = [_title(graph[id]) for id in ids]
    named = [f"{id[:60]!r} ({title})" if title else f"{id[:60]!r}" for id, title in zip(ids, titles, strict=True)]
    more = f", and {len(ids) - MOST_SAID} more" if len(ids) > MOST_SAID else ""
    who = f"node {named[0]} has" if len(ids) == 1 else f"nodes {', '.join(named[:MOST_SAID])}{more} have"
    info = {"node_id": ids[0][:60], "class_type": None, "node_title": titles[0] or None}
    return invalid_prompt(f"{who} no class_type: no such node is known here", "missing_node_type", **info)


def _title(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title[:60] if isinstance(title, str) else ""


def _outputs(nodes: Nodes, body: dict[str, Any]) -> tuple[str, ...]:
    """Return the output nodes to carry out: all that are connected, or those among them that the caller names."""
    outputs = output_nodes(nodes)
    if body.get("partial_execution_targets") is not None:
        targets = id_list(body, "partial_execution_targets")
        for target in targets:
            if target not in outputs:
                raise bad_request("partial_execution_targets", target, f"one of {', '.join(outputs) or 'none'}")
        outputs = [output for output in outputs if output in targets]
    if not outputs and not unknown_nodes(nodes):
        raise PromptRefused(
            status=400,
            kind="prompt_no_outputs",
            title="The prompt has no outputs",
            detail=f"the graph needs a {' or '.join(OUTPUT_CLASSES)} node whose images are connected",
        )
    return tuple(outputs)


def _id(body: dict[str, Any]) -> str:
    id = body.get("prompt_id")
    if id is None:
        return str(uuid.uuid4())
    if not isinstance(id, str) or not JOB_ID.fullmatch(id):
        allowed = f"a new id, best a UUID: {JOB_ID_RULE}"
        problem = bad_request("prompt_id", id, allowed)
        problem.kind = "invalid_prompt_id"
        raise problem
    return id


def _number(body: dict[str, Any]) -> float | None:
    number = body.get("number")
    if number is None:
        return None
    try:
        valid = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(float(number))
    except OverflowError:
        valid = False
    if not valid:
        raise bad_request("number", number, "a number")
    return float(number)


def _extra_data(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept beside the graph, with the client's id in it, as in ComfyUI."""
    extra_data = body.get("extra_data") or {}
    if not isinstance(extra_data, dict):
        raise bad_request("extra_data", extra_data, "an object")
    kept = {name: value for name, value in extra_data.items() if name not in _SECRETS}
    client_id = body.get("client_id")
    if client_id is None:
        client_id = kept.get("client_id")
    if client_id is None:
        kept.pop("client_id", None)
    elif isinstance(client_id, str) and len(client_id) <= _LONGEST_CLIENT:
        kept["client_id"] = client_id
    else:
        raise bad_request("client_id", client_id, f"text of at most {_LONGEST_CLIENT} characters")
    return kept


def _workflow_id(extra_data: Mapping[str, Any]) -> str | None:
    """Return the id of the editor's file that the prompt was made in, if the editor sent one."""
    value: object = extra_data
    for name in ("extra_pnginfo", "workflow", "id"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _previews(extra_data: Mapping[str, Any]) -> bool | None:
    method = extra_data.get("preview_method")
    if method is None:
        return None
    if not isinstance(method, str) or method not in _PREVIEWS:
        raise bad_request("extra_data.preview_method", method, f"one of {', '.join(_PREVIEWS)}")
    return _PREVIEWS[method]


def _no_prompt() -> Problem:
    return Problem(status=400, kind="no_prompt", title="No prompt", detail="the body has no field 'prompt'")


def _too_large() -> Problem:
    return Problem(
        status=413,
        kind="prompt_too_large",
        title="Prompt too large",
        detail=f"prompt and extra_data may have {_LARGEST // 2**10} KiB of JSON together: they are kept with the job",
    )
