"""A ComfyUI graph in API form → ``GenerationRequest``, read from its output node backwards.

Knows the one wiring that this project replaces: checkpoint, two prompts, an empty latent, one sampler, VAE, picture.
Knows nothing of the editor form, and no models folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import BadRequest
from engine.formats.comfyui.nodes import CONTROL, NODE_CLASSES, OUTPUT_CLASSES, node_id, place, shown, slot_index
from engine.formats.foreign import foreign_value, request_from_places
from engine.parameters import WholeNumber
from engine.request import GenerationRequest

LOWEST_CLIP_LAYER = -24

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
    "denoise": ("sampler", "denoise"),
    "clip_skip": ("layer", "stop_at_clip_layer"),
    "model": ("loader", "ckpt_name"),
}
"""Each parameter → the part that its node plays in the wiring, and its input there."""

_HARMLESS_INPUTS = {CONTROL, "speak_and_recognation"}
"""Inputs that editors send along and that ComfyUI's server does not read."""


def request_from_api(graph: Mapping[str, object]) -> GenerationRequest:
    """The request that a graph in API form stands for. Raises ``BadRequest`` as ``request_from_workflow`` says."""
    return _Graph(graph).request()


@dataclass(frozen=True)
class _Node:
    id: str
    class_type: str
    inputs: dict[str, object]

    def place(self, name: str = "") -> str:
        return place(self.id, self.class_type, name)

    def link(self, name: str) -> tuple[str, int]:
        """The node and the output that an input is linked to. Raises ``BadRequest`` for anything but a link."""
        value = self.inputs.get(name)
        parts = value if isinstance(value, list | tuple) and len(value) == 2 else (None, None)
        identity, slot = node_id(parts[0]), slot_index(parts[1])
        if identity is None or slot is None:
            wanted = NODE_CLASSES[self.class_type].links[name]
            raise BadRequest(self.place(name), value, f'a link to a {wanted} output: ["node id", slot]')
        return identity, slot


class _Graph:
    def __init__(self, graph: Mapping[str, object]) -> None:
        self._nodes = {identity: node for key, node in graph.items() if (identity := node_id(key)) is not None}

    def request(self) -> GenerationRequest:
        decode = self._follow(self._output(), "images", "VAEDecode")
        sampler = self._follow(decode, "samples", "KSampler")
        loader = self._follow(sampler, "model", "CheckpointLoaderSimple")
        nodes = {
            "sampler": sampler,
            "loader": loader,
            "latent": self._follow(sampler, "latent_image", "EmptyLatentImage"),
            "positive": self._follow(sampler, "positive", "CLIPTextEncode"),
            "negative": self._follow(sampler, "negative", "CLIPTextEncode"),
        }
        self._same_checkpoint(loader, decode, "vae", self._follow(decode, "vae", "CheckpointLoaderSimple"))
        where, layer = self._clip_layer(loader, nodes["positive"])
        other_where, other_layer = self._clip_layer(loader, nodes["negative"])
        if layer != other_layer:
            raise BadRequest(other_where, other_layer, f"{layer}, as in {where}: one layer for both prompts")
        found = {
            parameter: (nodes[part].place(name), self._value(nodes[part], name))
            for parameter, (part, name) in PARAMETER_INPUTS.items()
            if part in nodes
        }
        return request_from_places({**found, "clip_skip": (where, -layer)})

    def _output(self) -> _Node:
        """The node that the picture ends in. Several may show one picture; as in ComfyUI, unconnected ones are idle."""
        classes = {key: node.get("class_type") for key, node in self._nodes.items() if isinstance(node, dict)}
        found = [self._node(key, "workflow") for key, name in classes.items() if name in OUTPUT_CLASSES]
        connected = [node for node in found if "images" in node.inputs] or found[:1]
        if not connected:
            there = sorted({shown(name) for name in classes.values() if isinstance(name, str)})
            raise BadRequest("workflow", ", ".join(there), f"a graph with an active {' or '.join(OUTPUT_CLASSES)} node")
        for node in connected[1:]:
            if node.link("images") != connected[0].link("images"):
                raise BadRequest(node.place("images"), "a second picture", "one picture, or batch, for each graph")
        return connected[0]

    def _node(self, identity: str, asked_by: str) -> _Node:
        node = self._nodes.get(identity)
        if not isinstance(node, dict):
            raise BadRequest(asked_by, f"node {shown(identity)}", "a node of this graph: {class_type, inputs}")
        class_type, inputs = node.get("class_type"), node.get("inputs", {})
        if not isinstance(class_type, str) or class_type not in NODE_CLASSES:
            where = place(identity, class_type) if isinstance(class_type, str) else f"workflow node {shown(identity)}"
            raise BadRequest(where, class_type, f"one of the nodes known here: {', '.join(NODE_CLASSES)}")
        if not isinstance(inputs, dict):
            raise BadRequest(place(identity, class_type, "inputs"), inputs, "an object")
        known = NODE_CLASSES[class_type].inputs
        for name in inputs:
            if name not in known and name not in _HARMLESS_INPUTS:
                allowed = f"no such input; {class_type} has {', '.join(known)}"
                raise BadRequest(place(identity, class_type, str(name)), inputs[name], allowed)
        return _Node(identity, class_type, inputs)

    def _value(self, node: _Node, name: str) -> object:
        """A plain input. Raises ``BadRequest`` if it is missing or linked to another node."""
        if name not in node.inputs:
            raise BadRequest(node.place(name), None, "a value")
        value = node.inputs[name]
        if isinstance(value, list | tuple):
            source = self._nodes.get(node_id(value[0]) or "") if value else None
            class_type = source.get("class_type") if isinstance(source, dict) else None
            found = f"a value from {place(str(value[0]), class_type)}" if isinstance(class_type, str) else value
            raise BadRequest(node.place(name), found, "the value itself; what other nodes compute is not supported")
        return value

    def _follow(self, node: _Node, name: str, *classes: str) -> _Node:
        """The node, of one of ``classes``, that an input is linked to by an output of the input's type."""
        identity, slot = node.link(name)
        source = self._node(identity, node.place(name))
        wanted = NODE_CLASSES[node.class_type].links[name]
        outputs = NODE_CLASSES[source.class_type].outputs
        kind = outputs[slot] if slot < len(outputs) else "none"
        if kind != wanted:
            raise BadRequest(node.place(name), f"output {slot} of {source.place()}: {kind}", f"a {wanted} output")
        if source.class_type not in classes:
            raise BadRequest(node.place(name), source.place(), f"{' or '.join(classes)}, which alone can be here")
        return source

    def _clip_layer(self, loader: _Node, encode: _Node) -> tuple[str, int]:
        """A prompt's text encoder layer, -1 the last, and where it is set; the setter next to the prompt counts."""
        setters: dict[str, _Node] = {}
        node = encode
        source = self._follow(node, "clip", "CheckpointLoaderSimple", "CLIPSetLastLayer")
        while source.class_type == "CLIPSetLastLayer":
            if source.id in setters:
                raise BadRequest(node.place("clip"), source.place(), "links that do not run in a circle")
            setters[source.id] = node = source
            source = self._follow(node, "clip", "CheckpointLoaderSimple", "CLIPSetLastLayer")
        self._same_checkpoint(loader, node, "clip", source)
        if not setters:
            return encode.place("clip"), -1
        nearest = next(iter(setters.values()))
        part = PARAMETER_INPUTS["clip_skip"][1]
        kind, where = WholeNumber(LOWEST_CLIP_LAYER, -1), nearest.place(part)
        return where, kind.check(where, foreign_value(kind, self._value(nearest, part)))

    def _same_checkpoint(self, loader: _Node, node: _Node, name: str, other: _Node) -> None:
        """Two loaders of one file are one checkpoint; two files are more than a request can name."""
        part = PARAMETER_INPUTS["model"][1]
        files = [self._value(each, part) for each in (loader, other)]
        for each, file in zip((loader, other), files, strict=True):
            if not isinstance(file, str):
                raise BadRequest(each.place(part), file, "the name of a checkpoint file")
        if files[0] != files[1]:
            raise BadRequest(node.place(name), files[1], f"the model's checkpoint, as in {loader.place()}")
