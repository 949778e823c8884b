"""Both forms of a ComfyUI graph: what they stand for, and what is refused and where."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from engine.errors import BadRequest
from engine.formats.comfyui import (
    api_workflow,
    editor_workflow,
    read_workflow,
    request_from_workflow,
    request_of,
    text_of_file,
    write_workflow,
)
from engine.formats.comfyui.flat import PARAMETER_INPUTS
from engine.request import MAX_SEED, PARTS, GenerationRequest
from tests.graphs import (
    FILE,
    FOLDER,
    SHIPPED,
    K,
    api,
    editor,
    editor_node,
    refused,
    requests,
    shipped,
)


@pytest.mark.parametrize("name", ["awpainting_api.json", "awpainting_ui.json"])
def test_the_shipped_files_are_the_default_request(name: str) -> None:
    assert request_from_workflow(shipped(name)) == SHIPPED
    assert request_of(read_workflow(text_of_file(FOLDER / name))) == SHIPPED


def test_the_default_request_is_written_as_the_shipped_files() -> None:
    assert api() == shipped("awpainting_api.json")
    written, original = editor(), shipped("awpainting_ui.json")
    for node in original["nodes"]:
        ours = editor_node(written, node["id"])
        assert (ours["type"], ours["pos"], ours["size"]) == (node["type"], node["pos"], node["size"])
        values = ["fixed" if value == "randomize" else value for value in node["widgets_values"]]
        assert ours["widgets_values"] == values


def test_every_scalar_has_its_place_in_the_graph() -> None:
    assert {*PARAMETER_INPUTS, *PARTS, "regions", "prompt_syntax", "prompt_reading", "mask_mode"} == {
        field.name for field in dataclasses.fields(GenerationRequest)
    }


@given(requests)
def test_a_request_comes_back_from_both_forms(request: GenerationRequest) -> None:
    expected = dataclasses.replace(request, model=FILE)
    for write in (api_workflow, editor_workflow):
        graph = write(request, checkpoint_file=FILE)
        text = json.dumps(graph)
        assert request_from_workflow(graph) == expected
        assert request_from_workflow(text) == request_from_workflow(text.encode()) == expected


@given(requests)
@example(GenerationRequest(prompt="a boat", negative_prompt="a boat", seed=7))
@example(GenerationRequest(cfg_scale=7.5, clip_skip=2, step_noise="cuda"))
def test_the_graph_of_a_request_is_that_of_its_workflow(request: GenerationRequest) -> None:
    written = write_workflow(dataclasses.replace(request, model=FILE).workflow())
    in_order = dict(sorted(written.items(), key=lambda entry: int(entry[0])))
    assert json.dumps(api_workflow(request, checkpoint_file=FILE)) == json.dumps(in_order)


@given(requests)
def test_the_editor_form_is_consistent_as_the_editor_needs_it(request: GenerationRequest) -> None:
    graph: Any = editor_workflow(request, checkpoint_file=FILE)
    nodes = {node["id"]: node for node in graph["nodes"]}
    order = {node["id"]: node["order"] for node in graph["nodes"]}
    assert sorted(order.values()) == list(range(len(nodes)))
    assert graph["last_node_id"] == max(nodes)
    assert graph["last_link_id"] == max(link[0] for link in graph["links"])
    for link, origin, output, target, slot, kind in graph["links"]:
        assert order[origin] < order[target]
        assert nodes[target]["inputs"][slot]["link"] == link
        assert nodes[target]["inputs"][slot]["type"] == kind == nodes[origin]["outputs"][output]["type"]
        assert link in nodes[origin]["outputs"][output]["links"]
    assert all(entry["link"] for node in nodes.values() for entry in node["inputs"])


def test_a_batch_wrapped_for_posting_is_read() -> None:
    assert request_from_workflow({"prompt": api(seed=5), "client_id": "x"}).seed == 5


def test_a_workflow_needs_no_torch() -> None:
    code = "import sys, engine.formats.comfyui, engine.formats.png; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])


# What a graph may say in other words


@pytest.mark.parametrize(
    ("node", "name", "value", "field", "read"),
    [
        ("3", "steps", "15", "steps", 15),
        ("3", "steps", 15.0, "steps", 15),
        ("3", "seed", str(MAX_SEED), "seed", MAX_SEED),
        ("3", "cfg", "7.5", "cfg_scale", 7.5),
        ("5", "width", "768", "width", 768),
        ("5", "width", 775, "width", 768),
        ("3", "denoise", "1", "denoise", 1.0),
        ("3", "eta", 0.5, "steps", 20),
        ("3", "preview_method", ["404", 1], "steps", 20),
        ("3", "sampler_name", "dpmpp_2m_sde_gpu", "sampler", "dpmpp_2m_sde_gpu"),
        ("3", "seed", 0, "seed", 0),
        ("6", "text", "", "prompt", ""),
        ("4", "ckpt_name", "folder/other.ckpt", "model", "folder/other.ckpt"),
        ("9", "filename_prefix", "elsewhere", "prompt", SHIPPED.prompt),
        ("3", "control_after_generate", "randomize", "seed", SHIPPED.seed),
    ],
)
def test_values_that_comfyui_takes_are_taken(node: str, name: str, value: object, field: str, read: object) -> None:
    graph = api()
    graph[node]["inputs"][name] = value
    assert getattr(request_from_workflow(graph), field) == read


def test_links_may_name_their_node_by_number() -> None:
    graph = api()
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [int(value[0]), value[1]]
    assert request_from_workflow(graph) == SHIPPED


def test_what_no_output_depends_on_is_ignored() -> None:
    graph = api()
    graph |= {"20": {"class_type": "Unknown", "inputs": {"a": ["404", 9]}}, "21": 5, "22": {"class_type": []}}
    graph["23"] = {"class_type": "KSampler", "inputs": {"steps": -1}}
    assert request_from_workflow(graph) == SHIPPED


def test_a_preview_beside_the_saved_picture_is_one_picture() -> None:
    graph = api()
    graph["12"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    graph["13"] = {"class_type": "PreviewImage", "inputs": {}}
    assert request_from_workflow(graph) == SHIPPED


def test_a_second_loader_of_the_same_file_is_the_same_checkpoint() -> None:
    graph = api()
    graph["11"] = copy.deepcopy(graph["4"])
    graph["8"]["inputs"]["vae"] = ["11", 2]
    assert request_from_workflow(graph) == SHIPPED


def test_of_several_clip_layers_the_nearest_to_the_prompt_counts() -> None:
    graph = api(clip_skip=2)
    graph["10"]["inputs"]["clip"] = ["11", 0]
    graph["11"] = {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["4", 1], "stop_at_clip_layer": -5}}
    assert request_from_workflow(graph).clip_skip == 2


# What is refused, and where


def change(node: str, name: str, value: object) -> Callable[[Any], None]:
    def apply(graph: Any) -> None:
        graph[node]["inputs"][name] = value

    return apply


def drop(*path: str) -> Callable[[Any], None]:
    def apply(graph: Any) -> None:
        for key in path[:-1]:
            graph = graph[key]
        del graph[path[-1]]

    return apply


def put(node: str, value: object) -> Callable[[Any], None]:
    def apply(graph: Any) -> None:
        graph[node] = value

    return apply


@pytest.mark.parametrize(
    ("mutate", "field", "said"),
    [
        (change("3", "steps", 0), f"{K} steps", "from 1 to 10000"),
        (change("3", "steps", float("inf")), f"{K} steps", "whole number"),
        (change("3", "steps", "20.5"), f"{K} steps", "20.5"),
        (change("3", "steps", 0.9), f"{K} steps", "from 1"),
        (change("3", "steps", "many"), f"{K} steps", "whole number"),
        (change("3", "steps", False), f"{K} steps", "whole number"),
        (change("3", "steps", None), f"{K} steps", "whole number"),
        (change("3", "steps", {}), f"{K} steps", "whole number"),
        (change("3", "cfg", "nan"), f"{K} cfg", "from 0 to 100"),
        (change("3", "cfg", float("inf")), f"{K} cfg", "from 0 to 100"),
        (change("3", "seed", -1), f"{K} seed", "from 0"),
        (change("3", "seed", None), f"{K} seed", "from 0"),
        (change("3", "seed", MAX_SEED + 1), f"{K} seed", str(MAX_SEED)),
        (change("3", "denoise", 0), f"{K} denoise", "above 0"),
        (change("3", "sampler_name", "dpmpp_2m_sdx"), f"{K} sampler_name", "nearest: dpmpp_2m_sde"),
        (change("3", "scheduler", 7), f"{K} scheduler", "karras"),
        (change("3", "seed", ["12", 0]), f"{K} seed", "node 12"),
        (change("6", "text", ["12", 0]), "workflow node 6 (CLIPTextEncode) text", "node 12"),
        (change("6", "text", []), "workflow node 6 (CLIPTextEncode) text", "a link to a STRING output"),
        (change("6", "text", ["5", 0]), "workflow node 6 (CLIPTextEncode) text", "node 5 (EmptyLatentImage)"),
        (change("6", "text", {"a": 5}), "workflow node 6 (CLIPTextEncode) text", "text"),
        (change("6", "text", "\ud800"), "workflow node 6 (CLIPTextEncode) text", "surrogate"),
        (change("5", "width", 15), "workflow node 5 (EmptyLatentImage) width", "from 16 to 16384"),
        (change("4", "ckpt_name", None), "workflow node 4 (CheckpointLoaderSimple) ckpt_name", "name"),
        (change("3", "positive", ["4", 0]), f"{K} positive", "MODEL"),
        (change("3", "model", ["4", 1]), f"{K} model", "CLIP"),
        (change("3", "model", ["4", 3]), f"{K} model", "none"),
        (change("3", "model", ["4", -1]), f"{K} model", "a link to a MODEL output"),
        (change("3", "model", ["4"]), f"{K} model", "a link to a MODEL output"),
        (change("3", "model", "4"), f"{K} model", "a link to a MODEL output"),
        (change("3", "model", [["4"], 0]), f"{K} model", "a link to a MODEL output"),
        (change("3", "model", ["404", 0]), f"{K} model", "node 404"),
        (change("3", "latent_image", ["3", 0]), f"{K} latent_image", "circle"),
        (change("8", "samples", ["5", 0]), "workflow node 8 (VAEDecode) samples", "KSampler"),
        (drop("3", "inputs", "model"), f"{K} model", "a link to a MODEL output"),
        (drop("3", "inputs", "steps"), f"{K} steps", "a value"),
        (drop("6", "inputs", "clip"), "workflow node 6 (CLIPTextEncode) clip", "CLIP"),
        (drop("9", "inputs", "images"), "workflow node 9 (SaveImage) images", "IMAGE"),
        (drop("3"), "workflow node 8 (VAEDecode) samples", "node 3"),
        (drop("9"), "workflow", "SaveImage or PreviewImage"),
        (put("5", {"class_type": "VAEEncod", "inputs": {}}), "workflow node 5 (VAEEncod)", "nearest: VAEEncode"),
        (put("5", {"class_type": 5}), "workflow node 5", "classes"),
        (
            put("5", {"class_type": "EmptyLatentImage", "inputs": 5}),
            "workflow node 5 (EmptyLatentImage) inputs",
            "object",
        ),
        (put("5", []), f"{K} latent_image", "node 5"),
        (
            put("12", {"class_type": "PreviewImage", "inputs": {"images": ["13", 0]}}),
            "workflow node 12 (PreviewImage) images",
            "node 13",
        ),
    ],
)
def test_what_is_not_supported_is_refused_at_its_place(mutate: Callable[[Any], None], field: str, said: str) -> None:
    graph = api()
    mutate(graph)
    refused(graph, field, said)


@pytest.mark.parametrize("graph", [None, 5, "no JSON", b"\xff", "[]", [], {}, "null", "{}", '{"prompt": {}}'])
def test_what_is_no_graph_is_refused(graph: object) -> None:
    refused(graph, "workflow")


def test_another_checkpoints_vae_or_clip_is_refused() -> None:
    for node, name, slot in (("8", "vae", 2), ("6", "clip", 1)):
        graph = api()
        graph["11"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "other.safetensors"}}
        graph[node]["inputs"][name] = ["11", slot]
        refused(graph, f"workflow node {node} ({graph[node]['class_type']}) {name}", "other.safetensors")


def test_a_second_sampler_is_refused() -> None:
    graph = api()
    graph["30"] = copy.deepcopy(graph["3"])
    graph["3"]["inputs"]["latent_image"] = ["30", 0]
    refused(graph, f"{K} latent_image", "node 30 (KSampler)")


def test_two_pictures_are_refused() -> None:
    graph = api()
    graph["18"], graph["19"] = copy.deepcopy(graph["8"]), copy.deepcopy(graph["9"])
    graph["19"]["inputs"]["images"] = ["18", 0]
    assert request_from_workflow(graph) == SHIPPED  # the same picture, twice
    graph["17"] = copy.deepcopy(graph["3"])
    graph["17"]["inputs"]["seed"] = 5
    graph["18"]["inputs"]["samples"] = ["17", 0]
    refused(graph, "workflow node 19 (SaveImage) images", "one picture")


def test_prompts_of_different_layers_are_refused() -> None:
    graph = api(clip_skip=2)
    graph["7"]["inputs"]["clip"] = ["4", 1]
    refused(graph, "workflow node 7 (CLIPTextEncode) clip", "-2")


@pytest.mark.parametrize("layer", [0, 1, -25, 2.5, None, True, "x", ["12", 0]])
def test_a_clip_layer_out_of_range_is_refused(layer: object) -> None:
    graph = api(clip_skip=2)
    graph["10"]["inputs"]["stop_at_clip_layer"] = layer
    refused(graph, "workflow node 10 (CLIPSetLastLayer) stop_at_clip_layer")


def test_a_circle_is_refused() -> None:
    graph = api(clip_skip=2)
    graph["10"]["inputs"]["clip"] = ["11", 0]
    graph["11"] = copy.deepcopy(graph["10"])
    graph["11"]["inputs"]["clip"] = ["10", 0]
    refused(graph, "workflow node 11 (CLIPSetLastLayer) clip", "circle")


def test_a_graph_cannot_be_written_without_a_seed_or_with_a_layer_that_comfyui_lacks() -> None:
    for request in (GenerationRequest(seed=None), GenerationRequest(clip_skip=25)):
        for write in (api_workflow, editor_workflow):
            with pytest.raises(BadRequest):
                write(request, checkpoint_file=FILE)


def test_names_from_a_file_cannot_garble_a_message() -> None:
    graph = api()
    graph["8"]["inputs"]["samples"] = ["\x1b[2J\n\ud800" + "x" * 10**6, 0]
    with pytest.raises(BadRequest) as caught:
        request_from_workflow(graph)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "broken.json", "a\0b"):
        with pytest.raises(BadRequest) as caught:
            read_workflow(text_of_file(path))
        assert caught.value.field == "workflow"
