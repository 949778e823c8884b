"""The flat request's parts: the nodes that they become, and errors in the request's own words."""

from __future__ import annotations

import dataclasses

import pytest

from engine import BadRequest, Control, GenerationRequest, Hires, Lora, Region, Upscaling, Workflow
from engine.parameters import from_json, to_json
from engine.request import PARTS
from engine.workflow.conditioning import CombineConditioning, WithArea, WithMask, WithRange
from engine.workflow.controls import Controlled
from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode, EncodeForInpaint, WithNoiseMask
from engine.workflow.from_request import PICTURES, field_of, workflow_of
from engine.workflow.inpainting import DifferentialDiffusion, WithMaskedPicture
from engine.workflow.latents import EmptyLatents, ResizeLatents, ScaleLatents
from engine.workflow.masks import LoadMask
from engine.workflow.models import Checkpoint, ClipWithLora, VaeFile, WithLora
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, LoadPicture
from engine.workflow.sampling import Sample
from engine.workflow.text import EncodeText
from engine.workflow.upscaling import Upscale

WHOLE = GenerationRequest(
    seed=3,
    loras=(Lora(name="ink", strength=0.8, clip_strength=0.5), Lora(name="wash")),
    vae="clear",
    image="photo.png",
    mask="mask.png",
    controls=(Control(model="edges", image="hint.png", strength=0.7, end=0.6),),
    regions=(
        Region(prompt="a moon", width=256, height=512),
        Region(prompt="a tree", x=256, width=256, height=512, strength=0.5),
    ),
    hires=Hires(scale=1.5, denoise=0.4, steps=7),
    upscale=Upscaling(model="larger"),
)


def nodes(workflow: Workflow, kind: type[Node]) -> list[Node]:
    return [node for node in workflow.nodes if type(node) is kind]


def test_a_plain_request_has_the_nodes_of_comfyuis_default_workflow() -> None:
    graph = workflow_of(GenerationRequest(seed=1, model="tiny.safetensors")).to_comfyui()
    assert sorted(graph) == ["3", "4", "5", "6", "7", "8", "9"]
    assert GenerationRequest(seed=1).plain
    assert not WHOLE.plain
    for name in PARTS:
        part = {name: getattr(WHOLE, name), "image": "photo.png"}
        assert not dataclasses.replace(GenerationRequest(), **part).plain


def test_every_part_becomes_its_nodes() -> None:
    workflow = workflow_of(WHOLE)
    end = workflow.outputs[PICTURES].pictures
    assert isinstance(end, Upscale)
    decode = end.pictures
    assert isinstance(decode, Decode)
    assert decode.vae == VaeFile(name="clear")
    second = decode.latents
    assert isinstance(second, Sample)
    assert isinstance(second.latents, ScaleLatents)
    first = second.latents.latents
    assert isinstance(first, Sample)
    assert isinstance(first.latents, WithNoiseMask)
    assert first.guider != second.guider  # whose regions are larger
    ink = WithLora(model=Checkpoint(), name="ink", strength=0.8)
    assert nodes(workflow, WithLora) == [ink, WithLora(model=ink, name="wash")]
    assert [node.strength for node in nodes(workflow, ClipWithLora)] == [0.5, 1.0]  # type: ignore[attr-defined]
    areas = [(node.x, node.width) for node in nodes(workflow, WithArea)]  # type: ignore[attr-defined]
    assert sorted(areas) == [(0, 256), (0, 384), (256, 256), (384, 384)]
    assert len(nodes(workflow, CombineConditioning)) == 4
    assert len(nodes(workflow, Controlled)) == 3  # the second pass has other regions, and the same negative prompt
    assert not nodes(workflow, EmptyLatents)


def test_the_whole_is_json_and_a_graph_of_comfyuis() -> None:
    assert from_json(GenerationRequest, to_json(WHOLE)) == WHOLE
    named = dataclasses.replace(WHOLE, model="tiny.safetensors")
    workflow = workflow_of(named)
    assert Workflow.from_comfyui(workflow.to_comfyui()) == workflow


@pytest.mark.parametrize(
    ("kind", "field", "wanted"),
    [
        (Checkpoint, "name", "model"),
        (Controlled, "end", "controls[0].end"),
        (WithLora, "name", "loras[0].name"),
        (VaeFile, "name", "vae"),
        (WithArea, "width", "regions[0].width"),
        (LoadPicture, "name", "controls[0].image"),
        (ScaleLatents, "factor", "hires.scale"),
        (Sample, "sigmas", "steps"),
    ],
)
def test_an_error_about_a_node_names_the_requests_field(kind: type[Node], field: str, wanted: str) -> None:
    node = nodes(workflow_of(WHOLE), kind)[0]
    assert field_of(WHOLE, BadRequest(field, 1, "another", node=node)) == wanted


def test_bad_parts_are_refused_by_name() -> None:
    with pytest.raises(BadRequest) as caught:
        from_json(
            GenerationRequest,
            {"regions": [{"prompt": "", "width": 64, "height": 64}, {"prompt": "", "width": "much", "height": 64}]},
        )
    assert caught.value.field == "regions[1].width"
    with pytest.raises(BadRequest) as caught:
        GenerationRequest(mask="mask.png")
    assert caught.value.field == "mask"
    with pytest.raises(BadRequest) as caught:
        workflow_of(GenerationRequest(seed=1, image="photo.png", batch_size=65))
    assert caught.value.field == "batch_size"


def test_a_second_pass_may_have_parameters_of_its_own() -> None:
    own = {"sampler": "dpmpp_2m", "scheduler": "karras", "cfg_scale": 3.0, "seed": 9, "steps": 5, "prompt": "a ship"}
    request = GenerationRequest(seed=3, hires=Hires(width=640, height=768, **own))
    second = workflow_of(request).at(("91", 0))
    assert isinstance(second, Sample)
    assert (second.sampler.name, second.guider.cfg_scale, second.noise.seed) == ("dpmpp_2m", 3.0, 9)  # type: ignore[attr-defined]
    assert isinstance(second.latents, ResizeLatents)
    assert (second.latents.width, second.latents.height) == (640, 768)
    texts = [node.text for node in nodes(workflow_of(request), EncodeText)]  # type: ignore[attr-defined]
    assert set(texts) == {request.prompt, request.negative_prompt, "a ship"}
    ship = next(node for node in workflow_of(request).nodes if isinstance(node, EncodeText) and node.text == "a ship")
    assert field_of(request, BadRequest("text", 1, "another", node=ship)) == "hires.prompt"
    assert workflow_of(GenerationRequest(seed=3, hires=Hires())) == workflow_of(
        GenerationRequest(seed=3, hires=Hires(scale=2, steps=20, seed=3, sampler="euler"))
    )


def test_a_second_pass_may_go_through_an_upscale_model() -> None:
    workflow = workflow_of(GenerationRequest(seed=3, hires=Hires(scale=1.5, upscaler="larger")))
    second = workflow.at(("91", 0))
    assert isinstance(second, Sample)
    assert isinstance(second.latents, Encode)
    fitted = second.latents.pictures
    assert isinstance(fitted, ResizePictures)
    assert (fitted.width, fitted.height, type(fitted.pictures)) == (768, 768, Upscale)


def test_what_is_finished_is_enlarged_to_a_scale() -> None:
    request = GenerationRequest(seed=3, hires=Hires(scale=1.5), upscale=Upscaling(model="larger", scale=2))
    end = workflow_of(request).outputs[PICTURES].pictures
    assert isinstance(end, ResizePictures)
    assert (end.width, end.height) == (1536, 1536)


def test_a_region_may_be_a_mask_and_a_part_of_the_sampling() -> None:
    request = GenerationRequest(seed=3, regions=(Region(prompt="a moon", mask="moon.png", start=0.2),))
    assert not request.plain
    assert request.pictures == ("moon.png",)
    (masked,) = nodes(workflow_of(request), WithMask)
    assert isinstance(masked, WithMask)
    assert masked.mask == LoadMask(name="moon.png", channel="red")
    assert isinstance(masked.conditioning, WithRange)
    assert field_of(request, BadRequest("name", 1, "another", node=masked.mask)) == "regions[0].mask"


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("noise", {Encode, WithNoiseMask}),
        ("grey", {EncodeForInpaint}),
        ("inpainting", {Encode, WithNoiseMask, EncodeForInpaint, WithMaskedPicture}),
        ("soft", {Encode, WithNoiseMask, DifferentialDiffusion}),
    ],
)
def test_a_mask_is_painted_over_as_its_mode_says(mode: str, kinds: set[type[Node]]) -> None:
    request = GenerationRequest(seed=3, image="photo.png", mask="mask.png", mask_mode=mode, batch_size=2)
    found = {type(node) for node in workflow_of(request).nodes}
    every = {Encode, WithNoiseMask, EncodeForInpaint, WithMaskedPicture, DifferentialDiffusion}
    assert found & every == kinds


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"hires": {"width": 512}}, "hires.height"),
        ({"hires": {"width": 512, "height": 512, "scale": 2}}, "hires.scale"),
        ({"regions": [{"prompt": "x"}]}, "regions[0].width"),
        ({"regions": [{"prompt": "x", "mask": "a", "width": 64}]}, "regions[0].width"),
        ({"upscale": {}}, "upscale.model"),
    ],
)
def test_parts_that_contradict_themselves_are_refused_by_name(part: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_json(GenerationRequest, part)
    assert caught.value.field == field
