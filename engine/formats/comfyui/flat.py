"""Workflows ⇄ ``GenerationRequest``, and the graph of a request: ComfyUI's default workflow with other values.

Knows no forms of graphs, no tensors and no models folder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

from engine.errors import BadRequest
from engine.formats.comfyui.editing.layout import editor_of
from engine.formats.comfyui.forms import read_workflow
from engine.formats.comfyui.places import place
from engine.formats.comfyui.writer import place_of, plain_number, write_workflow
from engine.request import GenerationRequest
from engine.request_parts import Region
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.from_request import CHECKPOINT, workflow_of
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import LOWEST_LAYER, Checkpoint, LastLayer, Vae
from engine.workflow.node import Node
from engine.workflow.pictures import Decode
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, ScheduledSigmas
from engine.workflow.text import EncodeText
from engine.workflow.workflow import Workflow

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

_FLAT = (
    "nothing else is a plain request, which is one KSampler from empty latents by one checkpoint, "
    "with prompts for the whole picture and for areas of it"
)

N = TypeVar("N", bound=Node)


def request_from_workflow(graph: object) -> GenerationRequest:
    """Return the request that a ComfyUI graph stands for: ``request_of(read_workflow(graph))``.

    ``model`` is the loader's ``ckpt_name`` as it stands: a file's name in the models folder.
    """
    return request_of(read_workflow(graph))


def request_of(workflow: Workflow) -> GenerationRequest:
    """Return the request that ``workflow`` stands for.

    Raises ``BadRequest``, naming the place, where the workflow is more than a request can say, or has a value that a
    request does not take.
    """
    return _Flat(workflow).request()


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


def _region(area: WithArea, text: EncodeText) -> Region:
    values = {name: getattr(area, name) for name in ("x", "y", "width", "height", "strength")}
    return Region(prompt=text.text, **values)


class _Flat:
    """A workflow that is taken for a request, part by part."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def request(self) -> GenerationRequest:
        decode = self._decode()
        sample = self._part(decode, "latents", Sample, "KSampler")
        guider = self._part(sample, "guider", CfgGuider, "CFGGuider")
        sigmas = self._part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._part(sample, "noise", RandomNoise, "RandomNoise")
        empty = self._part(sample, "latents", EmptyLatents, "EmptyLatentImage")
        checkpoint = self._part(guider, "model", Checkpoint, "CheckpointLoaderSimple")
        prompt, areas = self._regions(guider)
        negative = self._part(guider, "negative", EncodeText, "CLIPTextEncode")
        texts = [self._part(area, "conditioning", EncodeText, "CLIPTextEncode") for area in areas]
        prompts = [prompt, negative, *texts]
        self._same_checkpoint(checkpoint, decode, "vae", decode.vae)
        layers = [self._layer(checkpoint, prompt) for prompt in prompts]
        sampler = sample.sampler
        if sampler.options:
            raise BadRequest(self._place(sampler, "options"), sampler.options, f"a sampler without options; {_FLAT}")
        if (sigmas.sampler, sigmas.model) != (sampler.name, checkpoint):
            raise BadRequest(self._place(sample, "sigmas"), sigmas.sampler, f"a schedule for {sampler.name}; {_FLAT}")
        other = next((i for i, layer in enumerate(layers) if layer != layers[0]), None)
        if other is not None:
            allowed = f"{layers[0]}, the layer of the other prompt; {_FLAT}"
            raise BadRequest(self._layer_place(prompts[other]), layers[other], allowed)
        nodes = {"sampler": (sampler, "name"), "model": (checkpoint, "name")}
        nodes |= {name: (noise, name) for name in ("seed", "start_noise", "step_noise")}
        nodes |= {"prompt": (prompts[0], "text"), "negative_prompt": (prompts[1], "text")}
        nodes |= {name: (empty, name) for name in ("width", "height", "batch_size")}
        nodes |= {name: (sigmas, name) for name in ("steps", "scheduler", "denoise")}
        nodes |= {"cfg_scale": (guider, "cfg_scale")}
        values = {name: getattr(node, field) for name, (node, field) in nodes.items()}
        nodes |= {f"regions[{i}].{name}": (area, name) for i, area in enumerate(areas) for name in ("x", "y")}
        nodes["regions"] = (guider, "positive")
        try:
            regions = tuple(_region(area, text) for area, text in zip(areas, texts, strict=True))
            return GenerationRequest(**values, clip_skip=-layers[0], regions=regions)
        except BadRequest as error:
            raise BadRequest(self._place(*nodes[error.field]), error.value, error.allowed) from None

    def _regions(self, guider: CfgGuider) -> tuple[EncodeText, list[WithArea]]:
        """The prompt for the whole picture, and what combines it with those for areas."""
        node, field, areas = guider, "positive", []
        while isinstance(getattr(node, field), CombineConditioning):
            node, field = getattr(node, field), "first"
            areas.append(self._part(node, "second", WithArea, "ConditioningSetArea"))
        return self._part(node, field, EncodeText, "CLIPTextEncode"), areas[::-1]

    def _decode(self) -> Decode:
        ends = list(self._workflow.outputs.values())
        for end in ends[1:]:
            if end.pictures != ends[0].pictures:
                raise BadRequest(self._place(end, "pictures"), "a second picture", f"one picture, or batch; {_FLAT}")
        return self._part(ends[0], "pictures", Decode, "VAEDecode")

    def _part(self, node: Node, field: str, kind: type[N], wanted: str) -> N:
        found = getattr(node, field)
        if not isinstance(found, kind):
            raise BadRequest(self._place(node, field), self._described(found), f"{wanted}; {_FLAT}")
        return found

    def _layer(self, checkpoint: Checkpoint, prompt: EncodeText) -> int:
        """A prompt's text encoder layer, -1 the last; the setter next to the prompt counts."""
        node: Node = prompt
        clip = prompt.clip
        while isinstance(clip, LastLayer):
            node, clip = clip, clip.clip
        self._same_checkpoint(checkpoint, node, "clip", clip)
        return prompt.clip.layer if isinstance(prompt.clip, LastLayer) else -1

    def _layer_place(self, prompt: EncodeText) -> str:
        is_set = isinstance(prompt.clip, LastLayer)
        return self._place(prompt.clip, "layer") if is_set else self._place(prompt, "clip")

    def _same_checkpoint(self, checkpoint: Checkpoint, node: Node, field: str, other: Vae | Node) -> None:
        if other != checkpoint:
            name = other.name if isinstance(other, Checkpoint) else self._described(other)
            raise BadRequest(self._place(node, field), name, f"the sampler's checkpoint, {checkpoint.name}; {_FLAT}")

    def _place(self, node: Node, field: str) -> str:
        return place_of(self._workflow, node, field)

    def _described(self, node: Node) -> str:
        identity = self._workflow.ids.get(node)
        entry = (self._workflow.graph or {}).get(identity or "")
        return (
            place(identity, str(entry["class_type"])) if identity and isinstance(entry, dict) else type(node).__name__
        )
