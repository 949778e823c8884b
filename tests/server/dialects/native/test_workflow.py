"""Workflow files and PNGs are carried out as they are sent."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest, Workflow
from engine.formats.comfyui import api_workflow, editor_of, editor_workflow
from engine.formats.infotext import infotext
from engine.formats.png import encode_png, text_chunks
from engine.parameters import to_json
from engine.request import MAX_SEED
from server.task import LARGEST_GRAPH
from tests.server.dialects.comfyui.client import hires_graph
from tests.server.dialects.native.client import generate, picture


def test_a_workflow_file_is_carried_out_in_either_form(client: httpx.Client) -> None:
    request = GenerationRequest(prompt="a boat", seed=MAX_SEED, steps=3, model="other")
    shown = to_json(request) | {"seed": MAX_SEED}
    for form in (api_workflow, editor_workflow):
        graph = form(request, checkpoint_file="other.safetensors")
        job = client.post("/workflow", json=graph).json()
        assert job["parameters"] == shown
        job = client.post("/workflow?steps=5&cfg_scale=2.5&seed=3&count=2&response_format=base64", json=graph).json()
        assert job["parameters"] == shown | {"steps": 5, "cfg_scale": 2.5, "seed": 3}
        assert [made["seed"] for made in job["images"]] == [3, 4]
        assert job["images"][0]["base64"]
    answer = client.post(
        "/workflow?async=true&webhook_url=http://127.0.0.1:1/&webhook_events=started,finished", json=graph
    )
    assert answer.status_code == 202


def test_a_picture_is_made_again_from_its_own_file(client: httpx.Client) -> None:
    png = httpx.get(generate(client, prompt="a house", seed=5)["output_url"]).content
    headers = {"Content-Type": "image/png"}
    assert client.post("/workflow", content=png, headers=headers).json()["parameters"]["prompt"] == "a house"
    read = client.post("/parameters", content=png, headers=headers).json()
    assert (read["source"], read["parameters"]["seed"]) == ("picture", 5)
    graph = api_workflow(GenerationRequest(), checkpoint_file="instant.safetensors")
    read = client.post("/parameters", json=graph).json()
    assert (read["source"], read["parameters"]["model"]) == ("workflow", "instant.safetensors")
    assert generate(client, **read["parameters"])["model"] == "instant"


def test_a_value_beside_a_picture_replaces_one_of_its_infotext_that_cannot_be_read(client: httpx.Client) -> None:
    line = "a boat\nSteps: 3, Sampler: Sketch, CFG scale: 7, Seed: 5, Size: 64x64"
    png = encode_png(Image.new("RGB", (8, 8)), {"parameters": line})
    assert "infotext Sampler" in client.post("/workflow", content=png).json()["detail"]
    job = client.post("/workflow?sampler=heun", content=png).json()
    assert (job["state"], job["parameters"]["sampler"], job["seed"]) == ("succeeded", "heun", 5)


@pytest.mark.parametrize("wrapped", [lambda graph: graph, editor_of])
def test_a_workflow_of_several_samplings_runs_with_all_its_outputs(client: httpx.Client, wrapped: Any) -> None:
    answer = client.post("/workflow", json=wrapped(hires_graph()))
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (job["parameters"], job["count"], job["model"]) == (None, 1, "instant")
    assert {image["node"]: (image["width"], image["seed"]) for image in job["images"]} == {"9": (64, 1), "14": (128, 2)}
    assert client.get(f"/jobs/{job['id']}").json()["images"] == job["images"]


def test_a_picture_of_such_a_workflow_carries_it_and_makes_it_again(client: httpx.Client) -> None:
    graph = hires_graph()
    first = client.post("/workflow", json=graph).json()["images"]
    png = httpx.get(first[1]["url"]).content
    assert json.loads(text_chunks(png)["prompt"]) == graph
    assert client.post("/parameters", content=png).json() == {
        "source": "picture",
        "parameters": None,
        "workflow": graph,
    }
    again = client.post("/workflow", content=png).json()["images"]
    pixels = [[picture(httpx.get(each["url"])).tobytes() for each in images] for images in (first, again)]
    assert pixels[0] == pixels[1]


def test_parameters_beside_such_a_workflow_are_refused_and_controls_are_not(client: httpx.Client) -> None:
    graph = hires_graph()
    for query in ("steps=5", "seed=null", "prompt=a+boat", "count=2", "model=other"):
        answer = client.post(f"/workflow?{query}", json=graph)
        assert (answer.status_code, answer.json()["kind"]) == (422, "no_single_request")
        assert answer.json()["field"] == query.partition("=")[0]
        assert "the workflow is no single request (workflow node 14 (SaveImage) images)" in answer.json()["detail"]
    answer = client.post("/workflow?response_format=png", json=graph)
    assert (answer.status_code, answer.json()["field"]) == (400, "response_format")
    del graph["9"]
    answer = client.post("/workflow?response_format=png&priority=3", json=graph)
    assert picture(answer).size == (128, 128)
    assert answer.headers["x-seed"] == "1"  # it is one request, whose second pass has a seed of its own


def test_an_idempotency_key_stands_for_one_workflow(client: httpx.Client) -> None:
    def post(graph: object) -> httpx.Response:
        return client.post("/workflow", json=graph, headers={"Idempotency-Key": "k"})

    graph = hires_graph()
    assert post(graph).json()["id"] == post(graph).json()["id"]
    graph["12"]["inputs"]["denoise"] = 0.75
    assert post(graph).status_code == 409


def test_a_workflow_is_answered_in_api_form_beside_its_parameters(client: httpx.Client) -> None:
    request = GenerationRequest(prompt="a boat", seed=MAX_SEED)
    graph = api_workflow(request, checkpoint_file="other.safetensors")
    for body in (graph, editor_workflow(request, checkpoint_file="other.safetensors")):
        answer = client.post("/parameters", json=body).json()
        assert Workflow.from_comfyui(answer["workflow"]) == Workflow.from_comfyui(graph)
        assert answer["parameters"]["seed"] == answer["workflow"]["3"]["inputs"]["seed"] == MAX_SEED
    line = infotext(request, model_name="other", model_hash=None)
    answer = client.post("/parameters", content=encode_png(Image.new("RGB", (8, 8)), {"parameters": line})).json()
    assert (answer["parameters"]["prompt"], answer["workflow"]) == ("a boat", None)


def test_a_workflow_that_is_too_large_to_be_kept_is_refused(client: httpx.Client) -> None:
    graph = hires_graph()
    graph["6"]["_meta"] = {"title": "x" * LARGEST_GRAPH}
    answer = client.post("/workflow", json=graph)
    assert (answer.status_code, answer.json()["kind"]) == (413, "workflow_too_large")
    assert client.post("/parameters", json=graph).json()["parameters"] is None


def test_null_in_a_query_draws_a_seed(client: httpx.Client) -> None:
    graph = api_workflow(GenerationRequest(seed=7), checkpoint_file="instant.safetensors")
    seeds = {client.post("/workflow?seed=null", json=graph).json()["seed"] for _ in range(2)}
    assert len(seeds) == 2
    assert 7 not in seeds


@pytest.mark.parametrize("path", ["/workflow", "/parameters"])
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "image/png"}])
def test_a_picture_without_parameters_is_called_the_body(
    client: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    for png in (encode_png(Image.new("RGB", (8, 8)), {"Comment": "x"}), b"\x89PNG\r\n\x1a\n"):
        answer = client.post(path, content=png, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (400, "body")
        assert "repeat" not in answer.text


@pytest.mark.parametrize("path", ["/workflow", "/parameters"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\x89PNG\r\n\x1a\n", b'{"1": {"class_type": "LoraLoader"}}'])
def test_a_file_that_is_no_workflow_is_refused_by_name(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("query", ["steps=x", "steps=5&steps=6", "async=maybe", "stps=5", "count=0"])
def test_a_bad_query_of_a_workflow_is_named(client: httpx.Client, query: str) -> None:
    graph = api_workflow(GenerationRequest(), checkpoint_file="instant.safetensors")
    answer = client.post(f"/workflow?{query}", json=graph)
    assert (answer.status_code, answer.json()["field"]) == (400, query.partition("=")[0])
