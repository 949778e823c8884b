"""Graphs → ``GenerationRequest``, and the graph of a request: ComfyUI's default workflow with other values.

Knows no forms of graphs, no tensors and no models folder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.comfyui.editing.layout import editor_of
from engine.formats.comfyui.forms import read_workflow
from engine.formats.comfyui.to_request import request_of
from engine.formats.comfyui.writer import plain_number, write_workflow
from engine.request import GenerationRequest
from engine.workflow.from_request import CHECKPOINT, workflow_of
from engine.workflow.models import LOWEST_LAYER

PARAMETER_INPUTS: Mapping[str, tuple[str, str]] = {
    "prompt": ("positive", "text"),
    "negative_prompt": ("negative", "text"),
    "width": ("latent", "width"),
    "height": ("latent", "height"),
    "batch_size": ("latent", "batch_size"),
    "steps": ("sampler", "steps"),
    "cfg_scale": ("sampler", "cfg"),
    "sampler": ("sampler", "sampler_name"),
    "scheduler": ("sampler", "scheduler"),
    "seed": ("sampler", "seed"),
    "start_noise": ("sampler", "start_noise"),
    "step_noise": ("sampler", "step_noise"),
    "denoise": ("sampler", "denoise"),
    "clip_skip": ("layer", "stop_at_clip_layer"),
    "model": ("loader", "ckpt_name"),
}
"""Each scalar parameter → the part that its node plays in a request's graph, and its input there."""

_IDS = {"sampler": "3", "loader": CHECKPOINT, "latent": "5", "positive": "6", "negative": "7", "layer": "10"}
"""The id of each part's node in the graph that is written for a request."""

_VALUES = {
    name: (_IDS[part], given)
    for name, (part, given) in PARAMETER_INPUTS.items()
    if name not in ("clip_skip", "start_noise", "step_noise", "model")  # these say what nodes and inputs there are
}
"""Parameters whose values stand in the graph as they are: the id of the node, and its input."""


def request_from_workflow(graph: object) -> GenerationRequest:
    """Return the request that a ComfyUI graph stands for: ``request_of(read_workflow(graph))``.

    ``model`` is the loader's ``ckpt_name`` as it stands: a file's name in the models folder.
    """
    return request_of(read_workflow(graph))


def api_workflow(request: GenerationRequest, *, checkpoint_file: str) -> dict[str, Any]:
    """Return the graph in API form that makes ComfyUI compute ``request``: its default workflow, with these values.

    ``checkpoint_file`` is the file's name in the models folder, which a request's ``model`` may leave out or shorten;
    reading the graph again gives ``request`` with ``model=checkpoint_file``. Raises ``BadRequest`` for a request
    without a seed, and for a ``clip_skip`` that ComfyUI does not take.
    """
    if request.clip_skip > -LOWEST_LAYER:
        raise BadRequest("clip_skip", request.clip_skip, f"at most {-LOWEST_LAYER}, as in ComfyUI")
    if request.seed is None or not request.plain or request.regions or request.prompt == request.negative_prompt:
        graph = _written(request)
    else:
        graph = _filled(request)
    graph[CHECKPOINT]["inputs"]["ckpt_name"] = checkpoint_file
    return graph


def _written(request: GenerationRequest) -> dict[str, Any]:
    graph = write_workflow(workflow_of(request))
    return dict(sorted(graph.items(), key=lambda entry: int(entry[0])))


def _filled(request: GenerationRequest) -> dict[str, Any]:
    """The graph of a plain request with two prompts: those differ in the values of ``_VALUES`` alone."""
    others = {name: getattr(request, name) for name in ("clip_skip", "start_noise", "step_noise")}
    graph = {id: {**node, "inputs": dict(node["inputs"])} for id, node in _pattern(**others).items()}
    for name, (id, given) in _VALUES.items():
        graph[id]["inputs"][given] = plain_number(getattr(request, name))
    return graph


@functools.lru_cache(maxsize=64)
def _pattern(**others: Any) -> dict[str, Any]:
    return _written(GenerationRequest(**others))


def editor_workflow(request: GenerationRequest, *, checkpoint_file: str) -> dict[str, Any]:
    """Return the same graph in editor form: what opens when a picture is dropped on the ComfyUI editor.

    The editor, being JavaScript, rounds a seed above 2^53; the API form and this engine do not. Raises as
    ``api_workflow`` does.
    """
    return editor_of(api_workflow(request, checkpoint_file=checkpoint_file))
