"""Graphs that are more than a plain request: several samplings and pictures, custom sampling, linked values."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from engine.errors import BadRequest
from engine.formats.comfyui import read_workflow, request_of
from engine.request_parts import Hires
from engine.workflow.latents import EmptyLatents, ScaleLatents
from engine.workflow.models import Checkpoint
from engine.workflow.pictures import SendPictures
from engine.workflow.sampling import CutSigmas, LastDenoised, NoNoise, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import EncodeText
from engine.workflow.workflow import Workflow
from tests.graphs import K, api


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def samples(workflow: Workflow) -> list[Sample]:
    return [each for each in workflow.nodes if isinstance(each, Sample)]


def custom() -> Any:
    """A graph that samples with ``SamplerCustomAdvanced``."""
    graph = api()
    graph["3"] = node(
        "SamplerCustomAdvanced",
        noise=["20", 0],
        guider=["21", 0],
        sampler=["22", 0],
        sigmas=["23", 0],
        latent_image=["5", 0],
    )
    graph["20"] = node("RandomNoise", noise_seed=5)
    graph["21"] = node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=7)
    graph["22"] = node("KSamplerSelect", sampler_name="heun")
    graph["23"] = node("BasicScheduler", model=["4", 0], scheduler="karras", steps=4, denoise=1)
    return graph


def said(graph: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_workflow(graph)
    return caught.value


def test_a_second_sampling_from_scaled_latents_is_read() -> None:
    graph = api()
    graph["30"] = copy.deepcopy(graph["3"])
    graph["30"]["inputs"] |= {"latent_image": ["31", 0], "denoise": 0.5, "seed": 6}
    graph["31"] = node("LatentUpscaleBy", samples=["3", 0], upscale_method="bislerp", scale_by=2)
    graph["8"]["inputs"]["samples"] = ["30", 0]
    workflow = read_workflow(graph)
    first, second = samples(workflow)
    assert second.latents == ScaleLatents(latents=first, method="bislerp", factor=2.0)
    assert second.sigmas == ScheduledSigmas(model=Checkpoint(name="AWPainting_v1.3.safetensors"), denoise=0.5)
    assert workflow.places["3", 0] == first
    assert workflow.places["30", 0] == second
    assert workflow.graph == graph
    assert request_of(workflow).hires == Hires(scale=2, denoise=0.5, seed=6)
    graph["30"]["inputs"]["model"] = ["32", 0]
    graph["32"] = node("CheckpointLoaderSimple", ckpt_name="other.ckpt")
    with pytest.raises(BadRequest, match="node 32"):
        request_of(read_workflow(graph))


def test_every_output_is_read_whatever_kind_it_is() -> None:
    graph = api()
    graph["20"] = node("SaveImageWebsocket", images=["8", 0])
    graph["21"] = node("PreviewImage", images=["22", 0])
    graph["22"] = node("VAEDecode", samples=["5", 0], vae=["23", 2])
    graph["23"] = node("CheckpointLoaderSimple", ckpt_name="other.ckpt")
    graph["24"] = node("PreviewImage")
    workflow = read_workflow(graph)
    assert set(workflow.outputs) == {"9", "20", "21"}
    assert isinstance(workflow.outputs["20"], SendPictures)
    assert {each.name for each in workflow.nodes if isinstance(each, Checkpoint)} == {
        "AWPainting_v1.3.safetensors",
        "other.ckpt",
    }


def test_ksampler_advanced_is_a_part_of_a_schedule() -> None:
    graph = api()
    inputs = graph["3"]["inputs"]
    seed = inputs.pop("seed")
    inputs.pop("denoise")
    inputs |= {"noise_seed": seed, "add_noise": "disable", "start_at_step": 3, "end_at_step": 10000}
    graph["3"] = node("KSamplerAdvanced", **inputs, return_with_leftover_noise="enable")
    (sample,) = samples(read_workflow(graph))
    assert sample.noise == NoNoise(seed=seed)
    assert isinstance(sample.sigmas, CutSigmas)
    assert (sample.sigmas.start, sample.sigmas.end, sample.sigmas.leftover_noise) == (3, 10000, True)
    graph["3"]["inputs"]["add_noise"] = "enable"
    assert samples(read_workflow(graph))[0].noise == RandomNoise(seed=seed)
    graph["3"]["inputs"]["add_noise"] = "yes"
    assert said(graph).field == "workflow node 3 (KSamplerAdvanced) add_noise"


def test_both_outputs_of_custom_sampling_are_read() -> None:
    graph = custom()
    (sample,) = samples(read_workflow(graph))
    assert (sample.noise, sample.sampler) == (RandomNoise(seed=5), Sampler(name="heun"))
    graph["8"]["inputs"]["samples"] = ["3", 1]
    workflow = read_workflow(graph)
    assert workflow.places["3", 1] == LastDenoised(sample=sample)
    graph["20"] = node("DisableNoise")
    assert samples(read_workflow(graph))[0].noise == NoNoise(seed=0)


def test_a_samplers_options_are_read_with_its_name() -> None:
    graph = custom()
    graph["22"] = node("SamplerDPMPP_2M_SDE", solver_type="heun", eta=0.5, s_noise=1, noise_device="cpu")
    sampler = samples(read_workflow(graph))[0].sampler
    assert sampler == Sampler(name="dpmpp_2m_sde", options=(("solver_type", "heun"), ("eta", 0.5)))
    graph["22"]["inputs"]["eta"] = 101
    assert said(graph).field == "workflow node 22 (SamplerDPMPP_2M_SDE) eta"
    graph["22"] = node("SamplerWithOptions", sampler_name="euler", options='[["eta", 1]]')
    assert said(graph).field == "workflow node 22 (SamplerWithOptions) options"
    for options in ("", "5", '["eta"]', '[["eta", null]]', "{}"):
        graph["22"] = node("SamplerWithOptions", sampler_name="euler", options=options)
        assert "JSON" in str(said(graph))


def test_values_linked_from_primitives_stand_in_the_links_place() -> None:
    graph = api()
    graph["20"] = node("PrimitiveInt", value="12")
    graph["21"] = node("PrimitiveStringMultiline", value="linked")
    graph["22"] = node("PrimitiveFloat", value=5)
    graph["23"] = node("Reroute", **{"": ["20", 0]})
    graph["3"]["inputs"] |= {"steps": ["23", 0], "cfg": ["22", 0]}
    graph["6"]["inputs"]["text"] = ["21", 0]
    request = request_of(read_workflow(graph))
    assert (request.steps, request.prompt, request.cfg_scale) == (12, "linked", 5.0)
    graph["20"]["inputs"]["value"] = 0
    error = said(graph)
    assert (error.field, error.value) == (f"{K} steps", 0)
    graph["3"]["inputs"]["steps"] = ["21", 0]
    assert said(graph).field == f"{K} steps"
    graph["3"]["inputs"]["steps"] = ["4", 0]
    assert "MODEL" in str(said(graph))


def test_reroutes_hand_on_the_type_of_what_they_are_linked_to() -> None:
    graph = api()
    graph["20"] = node("Reroute", **{"": ["4", 0]})
    graph["21"] = node("Reroute", **{"": ["20", 0]})
    graph["3"]["inputs"]["model"] = ["21", 0]
    assert read_workflow(graph) == read_workflow(api())
    graph["20"]["inputs"][""] = ["4", 2]
    error = said(graph)
    assert error.field == f"{K} model"
    assert "VAE" in str(error.value)


@pytest.mark.parametrize(("given", "read"), [(513, 512), ("519", 512), (16, 16), (23.0, 16), (16384, 16384)])
def test_sizes_are_rounded_down_as_comfyui_does(given: object, read: int) -> None:
    graph = api()
    graph["5"]["inputs"] |= {"width": given, "height": given}
    empty = next(each for each in read_workflow(graph).nodes if isinstance(each, EmptyLatents))
    assert (empty.width, empty.height) == (read, read)


def test_numbers_stand_for_text_and_flags_and_flags_for_numbers_as_in_python() -> None:
    graph = custom()
    graph["6"]["inputs"]["text"] = 123
    graph["7"]["inputs"]["text"] = 1.5
    graph["20"]["inputs"]["noise_seed"] = True
    request = read_workflow(graph)
    assert {each.text for each in request.nodes if isinstance(each, EncodeText)} == {"123", "1.5"}
    assert samples(request)[0].noise == RandomNoise(seed=1)
    graph["3"] = node("SamplerCustom", **api()["3"]["inputs"], add_noise=0, noise_seed=3, sampler=["22", 0])
    graph["3"]["inputs"]["sigmas"] = ["23", 0]
    assert samples(read_workflow(graph))[0].noise == NoNoise(seed=3)


def test_whole_numbers_lose_their_fractions_as_in_python() -> None:
    graph = custom()
    graph["20"]["inputs"]["noise_seed"] = 7.9
    graph["5"]["inputs"]["width"] = 512.5
    read = read_workflow(graph)
    assert samples(read)[0].noise == RandomNoise(seed=7)
    assert next(each for each in read.nodes if isinstance(each, EmptyLatents)).width == 512


def test_all_mistakes_of_a_graph_are_named_at_once() -> None:
    graph = api()
    graph["20"] = node("IPAdapter", model=["4", 0])
    graph["3"]["inputs"] |= {"steps": 0, "cfg": "x", "model": ["20", 0], "positive": ["5", 0], "negative": ["99", 0]}
    graph["5"]["inputs"]["batch_size"] = 0
    graph["8"]["inputs"]["vae"] = ["21", 0]
    graph["21"] = node("VAELoader")
    error = said(graph)
    places = ["20 (IPAdapter)", f"{K[14:]} positive", f"{K[14:]} negative", "5 (EmptyLatentImage) batch_size"]
    places += [f"{K[14:]} steps", f"{K[14:]} cfg", "21 (VAELoader) vae_name"]
    assert [each.field for each in error.all] == [f"workflow node {place}" for place in places]
    assert all(place in str(error) for place in places)


def test_a_mistake_that_several_nodes_depend_on_is_named_once() -> None:
    graph = api()
    del graph["4"]
    assert [each.field for each in said(graph).all] == [
        f"{K} model",
        "workflow node 6 (CLIPTextEncode) clip",
        "workflow node 7 (CLIPTextEncode) clip",
        "workflow node 8 (VAEDecode) vae",
    ]
    graph = api()
    graph["4"]["inputs"]["ckpt_name"] = 5
    assert len(said(graph).all) == 1


@pytest.mark.parametrize("placeholder", ["%seed%", "${cfg}", "{{seed}}", " %steps% "])
def test_placeholders_are_refused_by_name(placeholder: str) -> None:
    for id, name in (("3", "seed"), ("3", "cfg"), ("3", "sampler_name"), ("6", "text"), ("4", "ckpt_name")):
        graph = api()
        graph[id]["inputs"][name] = placeholder
        error = said(graph)
        assert error.field.endswith(f") {name}")
        assert error.value == placeholder
        assert "placeholder" in error.allowed
    graph = api()
    graph["6"]["inputs"]["text"] = f"half of {placeholder}"
    graph["9"]["inputs"]["filename_prefix"] = placeholder
    read_workflow(graph)


def test_a_list_may_be_wrapped_as_comfyui_has_it() -> None:
    graph = api()
    graph["3"]["inputs"]["steps"] = {"__value__": 12}
    assert request_of(read_workflow(graph)).steps == 12


def test_a_graph_of_a_thousand_samplings_is_read() -> None:
    graph = api()
    previous = ["5", 0]
    for number in range(1000):
        graph[f"s{number}"] = copy.deepcopy(graph["3"])
        graph[f"s{number}"]["inputs"] |= {"latent_image": previous, "seed": number}
        previous = [f"s{number}", 0]
    graph["8"]["inputs"]["samples"] = previous
    workflow = read_workflow(graph)
    assert len(samples(workflow)) == 1000
    assert read_workflow(workflow.to_comfyui()) == workflow
    assert read_workflow(workflow.replace(graph=None).to_comfyui()) == workflow


def test_equal_nodes_are_one_wherever_they_stand() -> None:
    graph = api()
    graph["40"], graph["41"] = copy.deepcopy(graph["6"]), copy.deepcopy(graph["4"])
    graph["3"]["inputs"]["negative"] = ["40", 0]
    graph["40"]["inputs"]["clip"] = ["41", 1]
    workflow = read_workflow(graph)
    assert workflow.places["6", 0] == workflow.places["40", 0]
    assert len([each for each in workflow.nodes if isinstance(each, Checkpoint)]) == 1


def test_a_class_of_its_own_name_for_the_same_node_is_read() -> None:
    graph = api()
    graph["4"] = node("CheckpointLoader", config_name="v1-inference.yaml", ckpt_name="AWPainting_v1.3.safetensors")
    assert read_workflow(graph) == read_workflow(api())
