"""Tests what AUTOMATIC1111's clients read at their start: lists, and a picture's parameters."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from engine.formats.infotext import SAMPLER_LABELS, infotext
from tests.server.conftest import RunningServer
from tests.server.dialects.sdapi.calls import txt2img
from tests.server.dialects.sdapi.plans import txt2img_plan


def test_models(shared_client: httpx.Client) -> None:
    first, second = shared_client.get("/sdapi/v1/sd-models").json()
    assert set(first) == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert first["title"] == f"instant.safetensors [{first['hash']}]"
    assert second["model_name"] == "other"


def test_samplers_and_schedulers_can_be_sent_back(shared_client: httpx.Client) -> None:
    samplers = shared_client.get("/sdapi/v1/samplers").json()
    assert {*SAMPLER_LABELS.values()} < {sampler["name"] for sampler in samplers}
    for alias in {alias for sampler in samplers for alias in sampler["aliases"]}:
        txt2img(shared_client, sampler_name=alias, steps=1)
    for scheduler in shared_client.get("/sdapi/v1/schedulers").json():
        for name in (scheduler["name"], scheduler["label"]):
            txt2img(shared_client, scheduler=name, steps=1)


@pytest.mark.parametrize(
    "name",
    ["sd-vae", "loras", "hypernetworks", "face-restorers", "realesrgan-models",
     "prompt-styles", "script-info", "extensions"],
)  # fmt: skip
def test_what_is_not_here_is_an_empty_list(shared_client: httpx.Client, name: str) -> None:
    assert shared_client.get(f"/sdapi/v1/{name}").json() == []


def test_the_rest(shared_client: httpx.Client) -> None:
    assert [each["name"] for each in shared_client.get("/sdapi/v1/upscalers").json()] == ["None", "Lanczos", "Nearest"]
    assert shared_client.get("/sdapi/v1/embeddings").json() == {"loaded": {}, "skipped": {}}
    assert shared_client.get("/sdapi/v1/scripts").json() == {"txt2img": ["controlnet"], "img2img": ["controlnet"]}
    assert shared_client.get("/sdapi/v1/cmd-flags").json()["api"] is True
    ram = shared_client.get("/sdapi/v1/memory").json()["ram"]
    assert ram["free"] + ram["used"] == ram["total"] > 0
    assert shared_client.get("/internal/ping").json() == {}
    assert shared_client.post("/sdapi/v1/refresh-checkpoints").json() is None


def test_a_picture_of_ours(shared_client: httpx.Client) -> None:
    answer = txt2img(shared_client, prompt='a "cat", big', negative_prompt="dogs: all", seed=7)
    text = json.loads(answer["info"])["infotexts"][0]
    for prefix in ("", "data:image/png;base64,"):
        found = shared_client.post("/sdapi/v1/png-info", json={"image": prefix + answer["images"][0]}).json()
        assert found["info"] == text
        assert found["parameters"]["Prompt"] == 'a "cat", big'
        assert found["parameters"]["Negative prompt"] == "dogs: all"
        assert (found["parameters"]["Seed"], found["parameters"]["Size-2"]) == ("7", "64")
        assert {"prompt", "workflow", "engine"} <= set(found["items"])


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_other_formats(shared_client: httpx.Client, format: str) -> None:
    made = GenerationRequest(prompt="a cat", seed=1)
    text = infotext(made, model_name="x, y", model_hash=None)
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(file, format, exif=exif.tobytes())
    found = shared_client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(file.getvalue()).decode()}).json()
    assert found["info"] == text
    assert found["parameters"]["Model"] == "x, y"


def test_a_picture_without_parameters(shared_client: httpx.Client) -> None:
    for format in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, format)
        image = base64.b64encode(file.getvalue()).decode()
        found = shared_client.post("/sdapi/v1/png-info", json={"image": image}).json()
        assert found == {"info": "", "items": {}, "parameters": {}}


@pytest.mark.parametrize("image", ["", "x", "data:", "http://localhost/x.png", "AAAA", "/9j/4AAQ", "iVBORw0KGgo="])
def test_no_picture(shared_client: httpx.Client, image: str) -> None:
    response = shared_client.post("/sdapi/v1/png-info", json={"image": image})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "image"]


@pytest.mark.parametrize("program", ["comfyui", "a1111"])
def test_each_picture_mode_lists_what_its_calls_take(open_server: Callable[..., RunningServer], program: str) -> None:
    server = open_server(sdapi_pictures=program)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        samplers, schedulers = (client.get(f"/sdapi/v1/{each}").json() for each in ("samplers", "schedulers"))
    assert len({each["name"] for each in samplers}) == len(samplers)
    taken = set()
    for sampler in samplers:
        for label in (sampler["name"], *sampler["aliases"]):
            request = txt2img_plan(program, sampler_name=label).first
            taken.add((sampler["name"], (request.a1111 and request.a1111.sampler) or request.sampler))
    assert len(taken) == len(samplers)
    for scheduler in schedulers:
        for label in (scheduler["name"], scheduler["label"]):
            assert txt2img_plan(program, sampler_name="Euler", scheduler=label)
    assert {each["options"]["scheduler"] for each in samplers} <= {each["name"] for each in schedulers}
    assert ("polyexponential" in {each["name"] for each in schedulers}) == (program == "a1111")
