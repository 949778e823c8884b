"""What AUTOMATIC1111's clients ask for at their start: lists, and a picture's parameters."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from engine.infotext import SAMPLER_LABELS, infotext
from tests.server.dialects.sdapi_calls import client_of_a_server, txt2img


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of one server: no test here leaves anything behind."""
    yield from client_of_a_server(tmp_path_factory.mktemp("server"))


def test_models(client: httpx.Client) -> None:
    first, second = client.get("/sdapi/v1/sd-models").json()
    assert set(first) == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert first["title"] == f"instant.safetensors [{first['hash']}]"
    assert second["model_name"] == "other"


def test_samplers_and_schedulers_can_be_sent_back(client: httpx.Client) -> None:
    samplers = client.get("/sdapi/v1/samplers").json()
    assert [sampler["name"] for sampler in samplers] == list(SAMPLER_LABELS.values())
    for alias in {alias for sampler in samplers for alias in sampler["aliases"]}:
        txt2img(client, sampler_name=alias, steps=1)
    for scheduler in client.get("/sdapi/v1/schedulers").json():
        for name in (scheduler["name"], scheduler["label"]):
            txt2img(client, scheduler=name, steps=1)


@pytest.mark.parametrize(
    "name",
    ["sd-vae", "latent-upscale-modes", "loras", "hypernetworks", "face-restorers", "realesrgan-models",
     "prompt-styles", "script-info", "extensions"],
)  # fmt: skip
def test_what_is_not_here_is_an_empty_list(client: httpx.Client, name: str) -> None:
    assert client.get(f"/sdapi/v1/{name}").json() == []


def test_the_rest(client: httpx.Client) -> None:
    assert [each["name"] for each in client.get("/sdapi/v1/upscalers").json()] == ["None"]
    assert client.get("/sdapi/v1/embeddings").json() == {"loaded": {}, "skipped": {}}
    assert client.get("/sdapi/v1/scripts").json() == {"txt2img": [], "img2img": []}
    assert client.get("/sdapi/v1/cmd-flags").json()["api"] is True
    ram = client.get("/sdapi/v1/memory").json()["ram"]
    assert ram["free"] + ram["used"] == ram["total"] > 0
    assert client.get("/internal/ping").json() == {}
    assert client.post("/sdapi/v1/refresh-checkpoints").json() is None


def test_a_picture_of_ours(client: httpx.Client) -> None:
    answer = txt2img(client, prompt='a "cat", big', negative_prompt="dogs: all", seed=7)
    text = json.loads(answer["info"])["infotexts"][0]
    for prefix in ("", "data:image/png;base64,"):
        found = client.post("/sdapi/v1/png-info", json={"image": prefix + answer["images"][0]}).json()
        assert found["info"] == text
        assert found["parameters"]["Prompt"] == 'a "cat", big'
        assert found["parameters"]["Negative prompt"] == "dogs: all"
        assert (found["parameters"]["Seed"], found["parameters"]["Size-2"]) == ("7", "64")
        assert {"prompt", "workflow", "engine"} <= set(found["items"])


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_other_formats(client: httpx.Client, format: str) -> None:
    made = GenerationRequest(prompt="a cat", seed=1)
    text = infotext(made, model_name="x, y", model_hash=None)
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(file, format, exif=exif.tobytes())
    found = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(file.getvalue()).decode()}).json()
    assert found["info"] == text
    assert found["parameters"]["Model"] == "x, y"


def test_a_picture_without_parameters(client: httpx.Client) -> None:
    for format in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, format)
        image = base64.b64encode(file.getvalue()).decode()
        found = client.post("/sdapi/v1/png-info", json={"image": image}).json()
        assert found == {"info": "", "items": {}, "parameters": {}}


@pytest.mark.parametrize("image", ["", "x", "data:", "http://localhost/x.png", "AAAA", "/9j/4AAQ", "iVBORw0KGgo="])
def test_no_picture(client: httpx.Client, image: str) -> None:
    response = client.post("/sdapi/v1/png-info", json={"image": image})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "image"]
