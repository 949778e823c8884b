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
from engine.text.a1111.composition import Part, joined, parts_of
from engine.text.a1111.networks import without_tags
from engine.workflow.composing import ComposedGuider, prompts_of
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.from_request import CHECKPOINT, workflow_of
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import LOWEST_LAYER, Checkpoint, LastLayer, Vae
from engine.workflow.node import Node
from engine.workflow.pictures import Decode
from engine.workflow.prompting import evaluations_of
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, ScheduledSigmas
from engine.workflow.text import EncodeA1111Text, EncodedText
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


def _region(area: WithArea, text: EncodedText) -> Region:
    values = {name: getattr(area, name) for name in ("x", "y", "width", "height", "strength")}
    return Region(prompt=text.text, **values)


class _Flat:
    """A workflow that is taken for a request, part by part."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def request(self) -> GenerationRequest:
        decode = self._decode()
        sample = self._part(decode, "latents", Sample, "KSampler")
        guider = self._guider(sample)
        sigmas = self._part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._part(sample, "noise", RandomNoise, "RandomNoise")
        empty = self._part(sample, "latents", EmptyLatents, "EmptyLatentImage")
        checkpoint = self._part(guider, "model", Checkpoint, "CheckpointLoaderSimple")
        parts, areas = self._prompts(guider)
        negative = self._part(guider, "negative", EncodedText, "CLIPTextEncode")
        texts = [self._part(area, "conditioning", EncodedText, "CLIPTextEncode") for area in areas]
        prompts = [parts[0][0], negative, *texts, *(prompt for prompt, _ in parts[1:])]
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
        values |= self._language(prompts, sigmas, parts)
        nodes |= {f"regions[{i}].{name}": (area, name) for i, area in enumerate(areas) for name in ("x", "y")}
        nodes["regions"] = (guider, "positive")
        try:
            regions = tuple(_region(area, text) for area, text in zip(areas, texts, strict=True))
            return GenerationRequest(**values, clip_skip=-layers[0], regions=regions)
        except BadRequest as error:
            raise BadRequest(self._place(*nodes[error.field]), error.value, error.allowed) from None

    def _guider(self, sample: Sample) -> CfgGuider | ComposedGuider:
        if isinstance(sample.guider, ComposedGuider):
            return sample.guider
        return self._part(sample, "guider", CfgGuider, "CFGGuider")

    def _prompts(self, guider: CfgGuider | ComposedGuider) -> tuple[list[tuple[EncodedText, float]], list[WithArea]]:
        """The prompts for the whole picture with their weights, and what combines the first with those for areas."""
        if isinstance(guider, CfgGuider):
            first, areas = self._regions(guider, "positive")
            return [(first, 1.0)], areas
        weighted, *others = prompts_of(guider.positive)
        first, areas = self._regions(weighted, "conditioning")
        texts = [(self._part(part, "conditioning", EncodedText, "CLIPTextEncode"), part.weight) for part in others]
        return [(first, weighted.weight), *texts], areas

    def _regions(self, node: Node, field: str) -> tuple[EncodedText, list[WithArea]]:
        """The prompt for the whole picture, and what combines it with those for areas."""
        areas = []
        while isinstance(getattr(node, field), CombineConditioning):
            node, field = getattr(node, field), "first"
            areas.append(self._part(node, "second", WithArea, "ConditioningSetArea"))
        return self._part(node, field, EncodedText, "CLIPTextEncode"), areas[::-1]

    def _language(
        self, prompts: list[EncodedText], sigmas: ScheduledSigmas, parts: list[tuple[EncodedText, float]]
    ) -> dict[str, str]:
        """The syntax of all prompts, and the positive one in it."""
        if not any(isinstance(prompt, EncodeA1111Text) for prompt in prompts) and parts == [(prompts[0], 1.0)]:
            return {}
        count = evaluations_of(sigmas.sampler, sigmas.steps)
        for prompt in prompts:
            if prompt != EncodeA1111Text(clip=prompt.clip, text=prompt.text, evaluations=count):
                allowed = f"A1111TextEncode for {count} evaluations, as the other prompts; {_FLAT}"
                raise BadRequest(self._place(prompt, "text"), self._described(prompt), allowed)
        wanted = [Part(text=each.text, weight=weight) for each, weight in parts]
        whole, where = joined(wanted), self._place(prompts[0], "text")
        if list(parts_of(without_tags(whole, where)[0])) != wanted:
            allowed = f"a text without AND, a weight of its own, tags, and blanks at its end; {_FLAT}"
            raise BadRequest(where, prompts[0].text, allowed)
        return {"prompt": whole, "prompt_syntax": "a1111"}

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

    def _layer(self, checkpoint: Checkpoint, prompt: EncodedText) -> int:
        """A prompt's text encoder layer, -1 the last; the setter next to the prompt counts."""
        node: Node = prompt
        clip = prompt.clip
        while isinstance(clip, LastLayer):
            node, clip = clip, clip.clip
        self._same_checkpoint(checkpoint, node, "clip", clip)
        return prompt.clip.layer if isinstance(prompt.clip, LastLayer) else -1

    def _layer_place(self, prompt: EncodedText) -> str:
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
