"""Workflow files and PNGs sent as they are."""

from __future__ import annotations

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow, editor_workflow
from engine.formats.png import encode_png
from engine.request import MAX_SEED
from tests.server.dialects.native.client import generate


def test_a_workflow_file_is_carried_out_in_either_form(client: httpx.Client) -> None:
    request = GenerationRequest(prompt="a boat", seed=MAX_SEED, steps=3, model="other")
    for form in (api_workflow, editor_workflow):
        graph = form(request, checkpoint_file="other.safetensors")
        told = client.post("/workflow", json=graph).json()
        assert told["parameters"] == vars(request)
        told = client.post("/workflow?steps=5&cfg_scale=2.5&seed=3&count=2&response_format=base64", json=graph).json()
        assert told["parameters"] == vars(request) | {"steps": 5, "cfg_scale": 2.5, "seed": 3}
        assert [made["seed"] for made in told["images"]] == [3, 4]
        assert told["images"][0]["base64"]
    answer = client.post(
        "/workflow?async=true&webhook_url=http://127.0.0.1:1/&webhook_events=started,finished", json=graph
    )
    assert answer.status_code == 202


def test_a_picture_is_made_again_from_its_own_file(client: httpx.Client) -> None:
    png = httpx.get(generate(client, prompt="a house", seed=5)["output_url"]).content
    headers = {"Content-Type": "image/png"}
    assert client.post("/workflow", content=png, headers=headers).json()["parameters"]["prompt"] == "a house"
    told = client.post("/parameters", content=png, headers=headers).json()
    assert (told["source"], told["parameters"]["seed"]) == ("picture", 5)
    graph = api_workflow(GenerationRequest(), checkpoint_file="instant.safetensors")
    told = client.post("/parameters", json=graph).json()
    assert (told["source"], told["parameters"]["model"]) == ("workflow", "instant.safetensors")
    assert generate(client, **told["parameters"])["model"] == "instant"


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
        assert "from-image" not in answer.text


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
