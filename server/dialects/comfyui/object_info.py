"""What nodes there are, with their inputs, ranges and choices, as ``/object_info`` tells it.

The classes and their inputs are those of ``engine.formats.comfyui``, the choices those of ``engine.request``; a test
holds the ranges against ``GenerationRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.formats.comfyui.nodes import CONTROL, NODE_CLASSES, OUTPUT_CLASSES
from engine.formats.comfyui.reader import LOWEST_CLIP_LAYER
from engine.request import MAX_SEED, MAX_SIDE, SAMPLERS, SCHEDULERS, GenerationRequest
from server.web.services import Services

_DEFAULT = GenerationRequest()

RANGES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "width": ("INT", {"default": _DEFAULT.width, "min": 16, "max": MAX_SIDE, "step": 8}),
    "height": ("INT", {"default": _DEFAULT.height, "min": 16, "max": MAX_SIDE, "step": 8}),
    "batch_size": ("INT", {"default": _DEFAULT.batch_size, "min": 1, "max": 4096}),
    "seed": ("INT", {"default": 0, "min": 0, "max": MAX_SEED, CONTROL: True}),
    "steps": ("INT", {"default": _DEFAULT.steps, "min": 1, "max": 10000}),
    "cfg": ("FLOAT", {"default": _DEFAULT.cfg_scale, "min": 0.0, "max": 100.0, "step": 0.1}),
    "denoise": ("FLOAT", {"default": _DEFAULT.denoise, "min": 0.01, "max": 1.0, "step": 0.01}),
    "stop_at_clip_layer": ("INT", {"default": -1, "min": LOWEST_CLIP_LAYER, "max": -1, "step": 1}),
    "text": ("STRING", {"multiline": True, "dynamicPrompts": True}),
    "filename_prefix": ("STRING", {"default": "ComfyUI"}),
}
"""Plain inputs by name: type and range, as far as the engine goes. ``denoise`` goes below 0.01 too, but not to 0."""

_ORDER = {
    "KSampler": (
        *("model", "seed", "steps", "cfg", "sampler_name", "scheduler"),
        *("positive", "negative", "latent_image", "denoise"),
    ),
    "CLIPTextEncode": ("text", "clip"),
}
"""Where the editor shows a class's inputs in an order of their own."""

_NAMES = {
    "CheckpointLoaderSimple": (
        "Load Checkpoint",
        "loaders",
        "The model, the text encoder and the VAE of a checkpoint.",
    ),
    "CLIPSetLastLayer": ("CLIP Set Last Layer", "conditioning", "Lets the text encoder end at an earlier layer."),
    "CLIPTextEncode": (
        "CLIP Text Encode (Prompt)",
        "conditioning",
        "A prompt as conditioning; (words:1.3) weigh more.",
    ),
    "EmptyLatentImage": ("Empty Latent Image", "latent", "Size and number of the pictures."),
    "KSampler": ("KSampler", "sampling", "Denoises the latents."),
    "VAEDecode": ("VAE Decode", "latent", "Latents to pixels."),
    "SaveImage": (
        *("Save Image", "image"),
        "Keeps the pictures. The prefix is kept with the prompt; file names are drawn, so that nobody can guess them.",
    ),
    "PreviewImage": ("Preview Image", "image", "Keeps the pictures, like Save Image."),
}
"""Display name, category and description."""

_ABSENT = {"VAELoader": "vae_name", "UNETLoader": "unet_name", "LoraLoader": "lora_name"}
"""Loaders that clients read lists from, whether they use them or not: here with nothing to choose from."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What depends on the server that is asked."""

    models: Sequence[str]
    """The checkpoints' file names."""
    most: Mapping[str, int]
    """Input → the largest value that this server takes."""


def offer_of(services: Services) -> Offer:
    """What this server has, and its limits. A side's is that of a picture as narrow as can be."""
    settings = services.settings
    side = settings.max_pixels // RANGES["width"][1]["min"] // 8 * 8
    return Offer(
        models=[model.file for model in services.backend.models()],
        most={"width": side, "height": side, "steps": settings.max_steps, "batch_size": settings.max_pictures},
    )


def all_nodes(offer: Offer) -> dict[str, Any]:
    """Every class's signature."""
    return {name: node(name, offer) for name in (*NODE_CLASSES, *_ABSENT)}


def node(name: str, offer: Offer) -> dict[str, Any] | None:
    """A class's signature; None for one that is not known."""
    if name in _ABSENT:
        return _absent(name)
    if name not in NODE_CLASSES:
        return None
    outputs = NODE_CLASSES[name].outputs
    display, category, description = _NAMES[name]
    order = _ORDER.get(name, NODE_CLASSES[name].inputs)
    required = {each: input_config(name, each, offer) for each in order}
    inputs: dict[str, Any] = {"required": required}
    if name in OUTPUT_CLASSES:
        inputs["hidden"] = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
    return _signature(name, inputs, outputs, display, category, description)


def input_config(class_type: str, name: str, offer: Offer) -> list[Any] | None:
    """What an input takes: ``[type or choices, range]``; None for an input that the class does not have."""
    known = NODE_CLASSES[class_type]
    if name in known.links:
        return [known.links[name], {}]
    if name not in known.inputs:
        return None
    if name in RANGES:
        kind, limits = RANGES[name]
        most = {"max": min(limits["max"], offer.most[name])} if name in offer.most else {}
        return [kind, limits | most]
    choices = {"sampler_name": SAMPLERS, "scheduler": SCHEDULERS, "ckpt_name": offer.models}
    return [list(choices[name]), {}]


def _absent(name: str) -> dict[str, Any]:
    description = "Not carried out here; listed, with nothing to choose from, for clients that read its list."
    inputs: dict[str, Any] = {"required": {_ABSENT[name]: [[], {}]}}
    return _signature(name, inputs, (), name, "loaders", description)


def _signature(
    name: str, inputs: dict[str, Any], outputs: Sequence[str], display: str, category: str, description: str
) -> dict[str, Any]:
    return {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "is_input_list": False,
        "output": list(outputs),
        "output_is_list": [False] * len(outputs),
        "output_name": list(outputs),
        "name": name,
        "display_name": display,
        "description": description,
        "python_module": "nodes",
        "category": category,
        "output_node": name in OUTPUT_CLASSES,
    }
