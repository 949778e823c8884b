"""Replicate's own client hands in pictures: as files, data URLs and URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ReplicateError

from tests.server.conftest import RunningServer
from tests.server.dialects.replicate.client import OpenClient, opened
from tests.server.following import all_jobs, get, input_of, png_of

PNG = png_of(Image.new("RGB", (96, 64), "red"))
DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.mark.parametrize("strategy", ["base64", "url"])
@pytest.mark.parametrize("form", ["file", "path", "data", "text"])
def test_a_picture_in_each_form(
    server: RunningServer, client: Client, strategy: Any, form: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    given: Any = {"file": io.BytesIO(PNG), "path": path, "data": DATA, "text": DATA.partition(",")[2]}[form]
    urls = client.run("local/instant", input={"prompt": "a", "image": given}, file_encoding_strategy=strategy)
    request = all_jobs(server)[0].request
    assert opened(urls[0]).size == (request.width, request.height) == (96, 64)
    assert request.denoise == 0.8
    assert input_of(server, all_jobs(server)[0], "image").getpixel((0, 0)) == (255, 0, 0)
    shown = client.predictions.get(all_jobs(server)[0].id).input["image"]
    assert shown.startswith(server.url)
    if form in ("data", "text"):
        assert get(shown).content == PNG


def test_every_word(server: RunningServer, client: Client) -> None:
    given = {
        "prompt": "a",
        "image": DATA,
        "mask": DATA,
        "prompt_strength": 0.4,
        "lora_weights": "ink",
        "lora_scale": 0.5,
        "extra_lora": "soft",
        "control_image": DATA,
        "controlnet": "canny",
        "controlnet_conditioning_scale": 0.7,
        "control_guidance_end": 0.6,
        "width": 64,
        "num_inference_steps": 2,
    }
    client.run("local/instant", input=given)
    request = all_jobs(server)[0].request
    assert (request.denoise, request.mask, request.width, request.height) == (0.4, request.image, 64, 64)
    assert [(lora.name, lora.strength) for lora in request.loras] == [("ink", 0.5), ("soft", 1)]
    control = request.controls[0]
    assert (control.model, control.image, control.strength, control.end) == ("canny", request.image, 0.7, 0.6)
    shown = client.predictions.get(all_jobs(server)[0].id).input
    assert get(shown["control_image"]).content == PNG
    client.run("local/instant", input={"prompt": "a", "controls": [{"model": "canny", "image": DATA}], "mask": None})
    shown = client.predictions.get(all_jobs(server)[1].id).input
    assert get(shown["controls"][0]["image"]).content == PNG


def test_an_output_is_the_next_input(server: RunningServer, client: Client) -> None:
    (first,) = client.run("local/instant", input={"prompt": "a", "width": 64, "height": 96, "output_format": "webp"})
    (second,) = client.run("local/instant", input={"prompt": "a", "image": str(first), "mask": str(first)})
    assert opened(second).size == (64, 96)
    request = all_jobs(server)[1].request
    assert (request.denoise, request.mask) == (1, request.image)


def test_files(client: Client) -> None:
    file = client.files.create(io.BytesIO(PNG), filename="a.png")
    assert (file.size, file.content_type, file.checksums) == (len(PNG), "image/png", {"sha256": file.id})
    assert client.files.get(file.id) == file
    assert client.files.list() == [file]
    assert client.files.delete(file.id)
    assert client.files.list() == []
    with pytest.raises(ReplicateError) as caught:
        client.files.get(file.id)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("image", {"image": "https://example.org/a.png"}),
        ("image", {"image": "no picture!"}),
        ("init_image", {"image": DATA, "init_image": DATA}),
        ("prompt_strength", {"image": DATA, "prompt_strength": 0}),
        ("mask", {"mask": DATA}),
        ("lora_scale", {"lora_weights": "a", "lora_scale": "much"}),
        ("lora_scale", {"lora_scale": 1}),
        ("lora_weights", {"lora_weights": 5}),
        ("loras", {"lora_weights": "a", "loras": [{"name": "b"}]}),
        ("control_image", {"controlnet": "canny"}),
        ("controlnet", {"control_image": DATA}),
        ("control_guidance_end", {"control_image": DATA, "controlnet": "a", "control_guidance_end": 2}),
        ("control_image", {"control_image": "https://example.org/a.png", "controlnet": "a"}),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(
    server: RunningServer, client: Client, field: str, given: dict[str, Any]
) -> None:
    with pytest.raises(ReplicateError, match=rf"input\.{field}: ") as caught:
        client.predictions.create(version="instant", input={"prompt": "a", **given})
    assert caught.value.status == 400
    assert all_jobs(server) == []


def test_all_that_a_control_lacks_is_named_at_once(client: Client) -> None:
    with pytest.raises(ReplicateError, match=r"input\.control_image: .*input\.controlnet: "):
        client.predictions.create(version="instant", input={"control_guidance_end": 1})


def test_an_alias_is_a_model(open_server: Callable[..., RunningServer], open_client: OpenClient) -> None:
    server = open_server(model_aliases={"stability-ai/sdxl": "other"})
    client = open_client(server)
    client.run("stability-ai/sdxl", input={"prompt": "a"})
    client.predictions.create(version="stability-ai/sdxl", input={"prompt": "a"}).wait()
    assert [job.model for job in all_jobs(server)] == ["other", "other"]
