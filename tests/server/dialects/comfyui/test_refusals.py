"""ComfyUI's ``/prompt`` refuses bad graphs in ComfyUI's words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.server.dialects.comfyui.client import Comfy, graph_of


def wrong(graph: dict[str, Any], node: str, **inputs: Any) -> dict[str, Any]:
    graph[node]["inputs"] |= inputs
    return graph


@pytest.mark.parametrize(
    ("node", "inputs", "kind", "input"),
    [
        ("3", {"steps": 0}, "value_smaller_than_min", "steps"),
        ("3", {"cfg": 101}, "value_bigger_than_max", "cfg"),
        ("3", {"steps": "many"}, "invalid_input_type", "steps"),
        ("3", {"steps": "2.5"}, "invalid_input_type", "steps"),
        ("3", {"seed": -1}, "value_smaller_than_min", "seed"),
        ("3", {"seed": 2**64}, "value_bigger_than_max", "seed"),
        ("3", {"sampler_name": "nope"}, "value_not_in_list", "sampler_name"),
        ("3", {"scheduler": ["5", 0]}, "bad_linked_input", "scheduler"),
        ("3", {"model": "4"}, "bad_linked_input", "model"),
        ("3", {"positive": ["5", 0]}, "bad_linked_input", "positive"),
        ("3", {"latent_image": ["404", 0]}, "bad_linked_input", "latent_image"),
        ("4", {"ckpt_name": "absent.safetensors"}, "value_not_in_list", "ckpt_name"),
        ("4", {"ckpt_name": "../instant.safetensors"}, "value_not_in_list", "ckpt_name"),
        ("5", {"width": 15}, "value_smaller_than_min", "width"),
        ("5", {"batch_size": 65}, "value_bigger_than_max", "batch_size"),
        ("6", {"text": {"a": 7}}, "invalid_input_type", "text"),
        ("6", {"text": None}, "invalid_input_type", "text"),
        ("6", {"text": "(" * 200}, "custom_validation_failed", "text"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_node_class_and_input(
    refusing: Comfy, node: str, inputs: dict[str, Any], kind: str, input: str
) -> None:
    graph = wrong(graph_of(), node, **inputs)
    answer = refusing.post(graph)
    assert answer.status_code == 400
    error, node_errors = answer.json()["error"], answer.json()["node_errors"]
    entry = node_errors[node]
    assert set(node_errors) == {node}
    assert (entry["class_type"], entry["dependent_outputs"]) == (graph[node]["class_type"], ["9"])
    (one,) = entry["errors"]
    assert (one["type"], one["extra_info"]["input_name"]) == (kind, input)
    assert set(error) == {"type", "message", "details", "extra_info"}
    assert f"node {node} ({graph[node]['class_type']}) {input}" in error["details"]


def test_an_input_that_is_missing_is_named(refusing: Comfy) -> None:
    graph = graph_of()
    del graph["5"]["inputs"]["width"]
    answer = refusing.post(graph).json()
    assert answer["error"]["type"] == "prompt_outputs_failed_validation"
    assert answer["node_errors"]["5"]["errors"][0]["type"] == "required_input_missing"


@pytest.mark.parametrize(
    "class_type", ["IPAdapterApply", "CLIPVisionLoader", "UNETLoader", "StyleModelApply", "LoadAudio", "Ünknown"]
)
@pytest.mark.parametrize("connected", [True, False])
def test_a_node_that_is_not_known_is_refused_by_id_and_class(refusing: Comfy, class_type: str, connected: bool) -> None:
    graph = graph_of()
    graph["77"] = {"class_type": class_type, "inputs": {"model": ["4", 0]}, "_meta": {"title": "My node"}}
    if connected:
        graph["3"]["inputs"]["model"] = ["77", 0]
    answer = refusing.post(graph)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "missing_node_type")
    assert error["extra_info"] == {"node_id": "77", "class_type": class_type, "node_title": "My node"}
    assert "77" in error["details"]
    assert class_type in error["message"]
    assert answer.json()["node_errors"]["77"]["class_type"] == class_type


def test_all_that_is_wrong_is_named_at_once(refusing: Comfy) -> None:
    graph = wrong(graph_of(), "3", steps=0, cfg="x", model=["11", 0])
    graph["11"] = {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "clip": ["4", 1], "lora_name": "x"}}
    graph["11"]["inputs"] |= {"strength_model": 1, "strength_clip": 1}
    graph["12"] = {"class_type": "VAELoader", "inputs": {"vae_name": "x.pt"}}
    graph["8"]["inputs"]["vae"] = ["12", 0]
    answer = refusing.post(graph).json()
    errors = {id: [one["type"] for one in entry["errors"]] for id, entry in answer["node_errors"].items()}
    assert errors == {
        "3": ["value_smaller_than_min", "invalid_input_type"],
        "11": ["value_not_in_list"],
        "12": ["value_not_in_list"],
    }
    for id, class_type in (("3", "KSampler"), ("11", "LoraLoader"), ("12", "VAELoader")):
        assert f"node {id} ({class_type})" in answer["error"]["details"]


def test_unknown_nodes_and_what_else_is_wrong_are_named_at_once(refusing: Comfy) -> None:
    graph = wrong(graph_of(), "3", steps=0, model=["20", 0])
    graph["20"] = {"class_type": "Nope", "inputs": {"model": ["21", 0]}}
    graph["21"] = {"class_type": "Neither", "inputs": {"model": ["4", 0]}}
    graph["22"] = {"class_type": "Unconnected", "inputs": {}}
    graph["12"] = {"class_type": "VAELoader", "inputs": {"vae_name": "x.pt"}}
    graph["8"]["inputs"]["vae"] = ["12", 0]
    answer = refusing.post(graph).json()
    assert answer["error"]["type"] == "missing_node_type"
    assert set(answer["node_errors"]) == {"20", "21", "22", "3", "12"}
    assert {answer["node_errors"][id]["errors"][0]["type"] for id in ("20", "21", "22")} == {"missing_node_type"}
    assert all(answer["node_errors"][id]["dependent_outputs"] == ["9"] for id in ("20", "21", "3", "12"))


def test_an_unknown_output_node_alone_is_named(refusing: Comfy) -> None:
    graph = graph_of()
    graph["9"]["class_type"] = "SaveWithMetadata"
    answer = refusing.post(graph).json()
    assert (answer["error"]["type"], list(answer["node_errors"])) == ("missing_node_type", ["9"])
    assert "SaveWithMetadata" in answer["error"]["message"]


def test_messages_offer_only_what_a_graph_may_hold(refusing: Comfy) -> None:
    for inputs in ({"seed": 2**64}, {"seed": "x"}, {"sampler_name": "nope"}, {"scheduler": "nope"}, {"denoise": 2}):
        details = refusing.post(wrong(graph_of(), "3", **inputs)).json()["error"]["details"]
        assert not any(word in details for word in ("-1", "null", "fresh", "clip_skip"))


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused_where_a_number_counts(refusing: Comfy, name: str) -> None:
    text = json.dumps({"prompt": wrong(graph_of(), "3", cfg=7777)}).replace("7777", name)
    answer = httpx.post(f"{refusing.url}/prompt", content=text)
    assert answer.status_code == 400
    assert answer.json()["node_errors"]["3"]["errors"][0]["extra_info"]["received_value"] == name


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ({}, "invalid_prompt"),
        ([], "invalid_prompt"),
        (None, "invalid_prompt"),
        ({"1": 7}, "invalid_prompt"),
        ({"1": {"inputs": {}}}, "missing_node_type"),
        ({"1": {"class_type": 7}}, "missing_node_type"),
        ({"1": {"class_type": "KSampler", "inputs": []}}, "invalid_prompt"),
        ({"nodes": [], "links": []}, "invalid_prompt"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "prompt_no_outputs"),
        ({"1": {"class_type": "SaveImage", "inputs": {}}}, "prompt_no_outputs"),
        ({"1": {"class_type": "SaveImage"}}, "prompt_no_outputs"),
        ({"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}, "prompt_outputs_failed_validation"),
        ({str(n): {"class_type": "PreviewImage", "inputs": {}} for n in range(1001)}, "invalid_prompt"),
    ],
)
def test_what_is_no_graph_is_refused(refusing: Comfy, graph: Any, kind: str) -> None:
    answer = refusing.post(graph)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, kind)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"client_id": 7}, "client_id"),
        ({"number": "1"}, "number"),
        ({"number": True}, "number"),
        ({"number": 10**400}, "number"),
        ({"front": 1}, "front"),
        ({"prompt_id": "../x"}, "prompt_id"),
        ({"prompt_id": 7}, "prompt_id"),
        ({"prompt_id": ""}, "prompt_id"),
        ({"extra_data": [1]}, "extra_data"),
        ({"extra_data": {"preview_method": "best"}}, "extra_data.preview_method"),
        ({"client_id": None, "extra_data": {"client_id": [1]}}, "client_id"),
        ({"partial_execution_targets": "9"}, "partial_execution_targets"),
    ],
)
def test_a_field_beside_the_graph_is_refused_by_name(refusing: Comfy, fields: dict[str, Any], named: str) -> None:
    answer = refusing.post(graph_of(), **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"].startswith(f"{named}: ")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", '"text"', "null", '{"prompt": 1e999}', '{"prompt": "\\ud800"}'),
        *('{"prompt": {}, "extra_data": ' + "[" * 100 + "]" * 100 + "}", "[" * 955 + "]" * 955),
        *("[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, '{"prompt": ' + "9" * 5000 + "}", "\xff"),
    ],
)
@pytest.mark.parametrize("path", ["/prompt", "/queue", "/history", "/free", "/api/jobs/cancel"])
def test_what_is_no_object_is_refused(refusing: Comfy, path: str, text: str) -> None:
    answer = httpx.post(refusing.url + path, content=text.encode("latin-1"))
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "node_errors"}


def test_no_prompt_at_all(refusing: Comfy) -> None:
    answer = httpx.post(f"{refusing.url}/prompt", json={"client_id": "a"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "no_prompt")


def test_a_prompt_too_large_to_be_kept_is_refused(refusing: Comfy) -> None:
    answer = refusing.post(graph_of(), extra_data={"a": "x" * 2**17})
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "prompt_too_large")


def test_a_picture_that_was_not_handed_in_is_refused_at_its_place(refusing: Comfy) -> None:
    graph = graph_of()
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}
    graph["21"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}
    graph["3"]["inputs"]["latent_image"] = ["21", 0]
    answer = refusing.post(graph)
    assert answer.status_code == 400
    assert set(answer.json()["node_errors"]) == {"20"}
    assert "node 20 (LoadImage) image" in answer.json()["error"]["details"]


def test_nodes_without_a_class_are_all_named(refusing: Comfy) -> None:
    """ComfyUI's editor sends nodes that it does not know so."""
    graph = graph_of()
    graph["77"] = {"inputs": {"unet_name": "x"}, "_meta": {"title": "Load Diffusion Model"}}
    graph["78"] = {"inputs": {}}
    error = refusing.post(graph).json()["error"]
    assert error["type"] == "missing_node_type"
    assert "'77' (Load Diffusion Model), '78'" in error["details"]
    assert error["extra_info"] == {"node_id": "77", "class_type": None, "node_title": "Load Diffusion Model"}
