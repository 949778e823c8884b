"""Graphs of requests with parts are read as those requests, and graphs that say anything else are not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from engine.errors import BadRequest
from engine.formats.comfyui import api_workflow, editor_workflow, request_from_workflow
from engine.request import GenerationRequest
from engine.request_parts import Control, Hires, Lora, Region, Upscaling

SMALL: dict[str, Any] = {"width": 128, "height": 64, "steps": 3, "seed": 9, "model": "tiny.safetensors"}
LORAS = (Lora(name="a", strength=0.5), Lora(name="b", clip_strength=0.25), Lora(name="a", strength=-1))
CONTROLS = (Control(model="edges", image="e.png", strength=0.5, end=0.5), Control(model="depth", image="d.png"))
REGIONS = (Region(prompt="a boat", x=64, width=64, height=64), Region(prompt="a tree", width=64, height=64, strength=2))
PARTS: list[dict[str, Any]] = [
    {"loras": LORAS, "clip_skip": 2},
    {"vae": "soft.pt"},
    {"image": "photo.png", "denoise": 0.5},
    {"image": "photo.png", "batch_size": 3},
    {"image": "photo.png", "mask": "mask.png", "denoise": 0.7, "batch_size": 2},
    {"controls": CONTROLS},
    {"controls": CONTROLS, "regions": REGIONS, "loras": LORAS},
    {"hires": Hires(scale=2)},
    {"hires": Hires(scale=1.5, method="bilinear", denoise=0.4, steps=2), "regions": REGIONS},
    {
        "hires": Hires(
            width=256, height=128, cfg_scale=3, seed=4, sampler="heun", prompt="a ship", negative_prompt="fog"
        )
    },
    {"upscale": Upscaling(model="detailed.pth")},
]
PARTS.append({name: value for part in PARTS for name, value in part.items()})


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("form", [api_workflow, editor_workflow])
def test_the_graph_of_a_request_is_read_as_that_request(parts: dict[str, Any], form: Any) -> None:
    request = GenerationRequest(**SMALL, **parts)
    assert request_from_workflow(form(request, checkpoint_file="tiny.safetensors")) == request


@pytest.mark.parametrize(
    ("parts", "node", "change"),
    [
        ({"loras": LORAS}, "101", {"lora_name": "c"}),
        ({"controls": CONTROLS}, "202", {"strength": 0.75}),
        ({"hires": Hires(scale=2)}, "91", {"seed": 10}),
        ({"hires": Hires(scale=2)}, "91", {"cfg": 3}),
        ({"hires": Hires(scale=2)}, "90", {"scale_by": 16.0}),
        ({"image": "photo.png"}, "19", {"crop": "disabled"}),
        ({"image": "photo.png", "mask": "mask.png"}, "22", {"width": 64}),
    ],
)
def test_a_graph_with_one_other_value_is_that_value_or_no_request(
    parts: dict[str, Any], node: str, change: dict[str, Any]
) -> None:
    """Nothing that a graph says gets lost: what is read is a request whose graph says the same, or an error."""
    graph = api_workflow(GenerationRequest(**SMALL, **parts), checkpoint_file="tiny.safetensors")
    other = copy.deepcopy(graph)
    other[node]["inputs"] |= change
    assert other != graph
    try:
        request = request_from_workflow(other)
    except BadRequest as error:
        assert error.field.startswith("workflow node")
    else:
        assert api_workflow(request, checkpoint_file="tiny.safetensors") == other
