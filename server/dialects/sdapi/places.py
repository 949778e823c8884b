"""Errors about a workflow's nodes → errors about the fields that callers of this dialect know."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

from engine import BadRequest, GenerationRequest, Workflow
from server.problems import Problem

_NODE = re.compile(r"workflow node \S+ \((\w+)\) ?(\w*)")

_FIELDS: Mapping[str, str] = {
    "CheckpointLoaderSimple": "override_settings.sd_model_checkpoint",
    "VAELoader": "override_settings.sd_vae",
    "LoraLoader": "prompt",
    "LoraLoaderModelOnly": "prompt",
    "CLIPTextEncode": "prompt",
    "A1111TextEncode": "prompt",
    "WeightedPrompt": "prompt",
    "CLIPSetLastLayer": "override_settings.CLIP_stop_at_last_layers",
    "ControlNetLoader": "alwayson_scripts.controlnet.args",
    "ControlNetApplyAdvanced": "alwayson_scripts.controlnet.args",
    "UpscaleModelLoader": "hr_upscaler",
    "ImageUpscaleWithModel": "hr_upscaler",
    "EmptyLatentImage": "width",
    "LatentUpscale": "hr_scale",
    "LatentCrop": "hr_resize_x",
    "LoadImage": "init_images",
    "BasicScheduler": "steps",
    "KSamplerSelect": "sampler_name",
    "ImageCompositeMasked": "init_images",
}
"""The classes of a graph's nodes → the field that such a node comes from."""

_OTHERS: Mapping[str, str] = {"width": "width", "height": "height", "steps": "steps", "cfg": "cfg_scale"}
"""The same by the input's name, for other classes."""


@contextlib.contextmanager
def in_this_dialects_words() -> Iterator[None]:
    """Give errors of a workflow, which the caller has not written, the field that the node at fault comes from."""
    try:
        yield
    except (Problem, BadRequest) as error:
        raise error.renamed(_field_of) from None


def placed(wanted: GenerationRequest | Workflow) -> GenerationRequest | Workflow:
    """Return a workflow with its graph, whose places errors name: ``in_this_dialects_words`` knows these."""
    return Workflow.from_comfyui(wanted.to_comfyui()) if isinstance(wanted, Workflow) else wanted


def _field_of(place: str) -> str:
    found = _NODE.search(place)
    if found is None:
        return place
    return _FIELDS.get(found[1]) or _OTHERS.get(found[2]) or "init_images"
