"""The flat request's parts: the nodes that they become, and errors in the request's own words."""

from __future__ import annotations

import dataclasses

import pytest

from engine import BadRequest, Control, GenerationRequest, Hires, Lora, Region, Workflow
from engine.parameters import from_json, to_json
from engine.request import PARTS
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.controls import Controlled
from engine.workflow.encoding import WithNoiseMask
from engine.workflow.from_request import PICTURES, field_of, workflow_of
from engine.workflow.latents import EmptyLatents, ScaleLatents
from engine.workflow.models import Checkpoint, ClipWithLora, VaeFile, WithLora
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, LoadPicture
from engine.workflow.sampling import Sample
from engine.workflow.upscaling import Upscale

WHOLE = GenerationRequest(
    seed=3,
    loras=(Lora(name="ink", strength=0.8, text_strength=0.5), Lora(name="wash")),
    vae="clear",
    image="photo.png",
    mask="mask.png",
    controls=(Control(name="edges", image="hint.png", strength=0.7, end=0.6),),
    regions=(
        Region(prompt="a moon", width=256, height=512),
        Region(prompt="a tree", x=256, width=256, height=512, strength=0.5),
    ),
    hires=Hires(scale=1.5, denoise=0.4, steps=7),
    upscale="larger",
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
