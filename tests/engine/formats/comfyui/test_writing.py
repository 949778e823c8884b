"""Workflows as graphs: what is written is read as the same workflow, and looks as ComfyUI has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from engine.errors import BadRequest
from engine.formats.comfyui import editor_of, place_of, read_workflow, write_workflow
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint
from engine.workflow.pictures import Decode, SavePictures, ShowPictures
from engine.workflow.sampling import (
    CfgGuider,
    CutSigmas,
    KarrasSigmas,
    LastDenoised,
    NoNoise,
    RandomNoise,
    Sample,
    Sampler,
    ScheduledSigmas,
    SplitSigmas,
)
from engine.workflow.text import EncodeText
from engine.workflow.workflow import Workflow
from tests.workflow_values import workflows

MODEL = Checkpoint(name="a.safetensors")
PROMPT = EncodeText(clip=MODEL, text="a bottle")
GUIDER = CfgGuider(model=MODEL, positive=PROMPT, negative=PROMPT, cfg_scale=7.0)
KARRAS = KarrasSigmas(steps=4)


def sampled(**changes: Any) -> Sample:
    fields = {
        "guider": GUIDER,
        "sampler": Sampler(),
        "sigmas": ScheduledSigmas(model=MODEL),
        "noise": RandomNoise(seed=7),
    }
    return Sample(**{**fields, "latents": EmptyLatents(), **changes})


def written(*latents: Any) -> dict[str, Any]:
    """The graph of pictures of ``latents``; it is read as the same workflow."""
    pictures = [Decode(latents=each, vae=MODEL) for each in latents]
    workflow = Workflow(outputs={f"out{number}": ShowPictures(pictures=each) for number, each in enumerate(pictures)})
    graph = write_workflow(workflow)
    assert read_workflow(json.loads(json.dumps(graph))) == workflow
    return graph


def classes(graph: dict[str, Any]) -> list[str]:
    shared = {"CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "VAEDecode", "PreviewImage"}
    return sorted(node["class_type"] for node in graph.values() if node["class_type"] not in shared)


@given(workflows())
@settings(max_examples=300)
def test_what_is_written_is_read_as_the_same_workflow(workflow: Workflow) -> None:
    graph = json.loads(json.dumps(write_workflow(workflow)))
    read = read_workflow(graph)
    assert read == workflow
    assert read.nodes == workflow.nodes or set(read.nodes) == set(workflow.nodes)
    assert write_workflow(read).keys() == graph.keys()
    assert read_workflow({"prompt": graph}) == workflow


@given(workflows())
def test_the_editor_form_is_read_as_the_same_workflow(workflow: Workflow) -> None:
    ends = {str(number + 1): end for number, end in enumerate(workflow.outputs.values())}
    workflow = Workflow(outputs=ends)
    read = read_workflow(json.loads(json.dumps(editor_of(write_workflow(workflow)))))
    assert list(read.outputs.items()) == list(ends.items()) or set(read.outputs.values()) == set(ends.values())


def test_what_comfyui_makes_with_one_node_is_written_as_one() -> None:
    assert classes(written(sampled())) == ["KSampler"]
    part = CutSigmas(sigmas=ScheduledSigmas(model=MODEL), start=2, end=9, leftover_noise=True)
    assert classes(written(sampled(sigmas=part, noise=NoNoise(seed=5)))) == ["KSamplerAdvanced"]
    assert classes(written(sampled(sigmas=KARRAS))) == ["KSamplerSelect", "KarrasScheduler", "SamplerCustom"]
    high, low = (SplitSigmas(sigmas=KARRAS, step=2, part=part) for part in ("high", "low"))
    first = sampled(sigmas=high)
    graph = written(sampled(sigmas=low, latents=first))
    assert classes(graph).count("SplitSigmas") == 1
    assert {node["inputs"]["sigmas"][1] for node in graph.values() if node["class_type"] == "SamplerCustom"} == {0, 1}


def test_both_outputs_of_a_sampling_are_those_of_one_node() -> None:
    sample = sampled(sigmas=KARRAS)
    graph = written(sample, LastDenoised(sample=sample))
    assert classes(graph).count("SamplerCustom") == 1
    assert sorted(node["inputs"]["samples"][1] for node in graph.values() if node["class_type"] == "VAEDecode") == [
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("sampler", "class_type", "inputs"),
    [
        (Sampler(name="heun"), "KSamplerSelect", {"sampler_name": "heun"}),
        (Sampler(name="euler_ancestral", options=(("eta", 0.5),)), "SamplerEulerAncestral", {"eta": 0.5, "s_noise": 1}),
        (
            Sampler(name="dpmpp_2m_sde_gpu", options=(("solver_type", "heun"),)),
            "SamplerDPMPP_2M_SDE",
            {"solver_type": "heun", "eta": 1, "s_noise": 1, "noise_device": "gpu"},
        ),
        (
            Sampler(name="dpm_2_ancestral", options=(("eta", 0.5),)),
            "SamplerWithOptions",
            {"sampler_name": "dpm_2_ancestral", "options": '[["eta", 0.5]]'},
        ),
    ],
)
def test_samplers_have_their_own_classes(sampler: Sampler, class_type: str, inputs: dict[str, Any]) -> None:
    graph = written(sampled(sampler=sampler, sigmas=KARRAS))
    assert [node["inputs"] for node in graph.values() if node["class_type"] == class_type] == [inputs]


def test_options_that_are_the_defaults_are_no_options() -> None:
    graph = written(sampled(sampler=Sampler(name="lms", options=(("order", 3),)), sigmas=KARRAS))
    node = next(node for node in graph.values() if node["class_type"] == "SamplerLMS")
    node["inputs"]["order"] = 4
    sample = next(each for each in read_workflow(graph).nodes if isinstance(each, Sample))
    assert sample.sampler == Sampler(name="lms")


def test_ids_are_kept_where_nodes_have_some() -> None:
    sample = sampled()
    decode = Decode(latents=sample, vae=MODEL)
    places = {("k", 0): sample, ("4", 0): MODEL, ("4", 1): MODEL}
    graph = write_workflow(Workflow(outputs={"end": SavePictures(pictures=decode)}, places=places))
    assert graph["k"]["class_type"] == "KSampler"
    assert graph["4"]["class_type"] == "CheckpointLoaderSimple"
    assert graph["end"]["class_type"] == "SaveImage"
    assert all(int(id) > 4 for id in graph if id not in ("k", "4", "end"))


def test_whole_numbers_are_written_without_a_point() -> None:
    graph = written(sampled())
    inputs = next(node["inputs"] for node in graph.values() if node["class_type"] == "KSampler")
    assert json.dumps([inputs["cfg"], inputs["denoise"]]) == "[7, 1]"


def test_the_engines_own_checkpoint_is_no_name() -> None:
    own = Checkpoint()
    workflow = Workflow(outputs={"9": ShowPictures(pictures=Decode(latents=EmptyLatents(), vae=own))})
    graph = write_workflow(workflow)
    assert {"class_type": "CheckpointLoaderSimple", "inputs": {}} in graph.values()
    assert read_workflow(graph) == workflow


def test_a_field_is_placed_at_the_input_that_it_came_from() -> None:
    part = CutSigmas(sigmas=ScheduledSigmas(model=MODEL), start=2)
    read = read_workflow(written(sampled(sigmas=part, noise=NoNoise(seed=5)), sampled()))
    advanced, plain = (end.pictures.latents for end in read.outputs.values())  # type: ignore[attr-defined]
    number = {node["class_type"]: id for id, node in (read.graph or {}).items()}
    for node, field, class_type, name in (
        (advanced, "sigmas", "KSamplerAdvanced", "start_at_step"),
        (advanced.sigmas.sigmas, "steps", "KSamplerAdvanced", "steps"),
        (advanced.noise, "seed", "KSamplerAdvanced", "noise_seed"),
        (plain, "sigmas", "KSampler", "steps"),
        (plain, "latents", "KSampler", "latent_image"),
        (plain.latents, "width", "EmptyLatentImage", "width"),
        (PROMPT, "text", "CLIPTextEncode", "text"),
        (MODEL, "name", "CheckpointLoaderSimple", "ckpt_name"),
    ):
        assert place_of(read, node, field) == f"workflow node {number[class_type]} ({class_type}) {name}"
    located = read.located(BadRequest("width", 9, "less", node=plain.latents))
    assert located.field == f"workflow node {number['EmptyLatentImage']} (EmptyLatentImage) width"
