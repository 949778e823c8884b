"""Hugging Face's dialect starts from pictures, as its own client hands them in."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError
from huggingface_hub.inference._generated.types.image_to_image import ImageToImageTargetSize
from PIL import Image

from tests.server.conftest import RunningServer
from tests.server.following import all_jobs, input_of, png_of, post

RED = Image.new("RGB", (96, 64), "red")
PNG = png_of(RED)


def test_every_parameter_of_the_client(server: RunningServer, client: InferenceClient) -> None:
    image = client.image_to_image(
        PNG,
        prompt="a blue bottle",
        negative_prompt="fog",
        num_inference_steps=3,
        guidance_scale=4.5,
        target_size=ImageToImageTargetSize(width=128, height=64),
        strength=0.3,
        seed=7,
        mask_image=base64.b64encode(PNG).decode(),
        lora_weights="ink",
        lora_scale=0.5,
    )
    request = all_jobs(server)[0].request
    assert image.size == (request.width, request.height) == (128, 64)
    assert (request.prompt, request.negative_prompt, request.steps) == ("a blue bottle", "fog", 3)
    assert (request.cfg_scale, request.denoise, request.seed, request.mask) == (4.5, 0.3, 7, request.image)
    assert [(lora.name, lora.strength) for lora in request.loras] == [("ink", 0.5)]
    assert input_of(server, all_jobs(server)[0], "image").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("given", [{}, {"num_inference_steps": 3}, {"prompt": "a"}])
@pytest.mark.parametrize("form", ["bytes", "path"])
def test_the_picture_alone_is_enough(
    server: RunningServer, client: InferenceClient, form: str, given: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    image = client.image_to_image({"bytes": PNG, "path": path}[form], **given)
    request = all_jobs(server)[0].request
    assert image.size == (96, 64)
    assert (request.prompt, request.denoise) == (given.get("prompt", ""), 0.8)
    assert request.image is not None


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "BMP"])
def test_other_formats_are_pictures_too(
    server: RunningServer, client: InferenceClient, format: str, tmp_path: Path
) -> None:
    RED.save(tmp_path / "a", format)
    assert client.image_to_image((tmp_path / "a").read_bytes()).size == (96, 64)
    text = base64.b64encode((tmp_path / "a").read_bytes()).decode()
    for inputs in (f"data:image/x;base64,{text}", *([text] if format != "BMP" else [])):
        assert post(f"{server.url}/hf", json={"inputs": inputs}).status_code == 200
    assert all(job.request.image for job in all_jobs(server))


def test_an_id_of_a_picture_is_one(server: RunningServer, client: InferenceClient) -> None:
    client.image_to_image(PNG)
    id = all_jobs(server)[0].request.image
    assert post(f"{server.url}/hf/models/other", json={"inputs": id}).status_code == 200
    assert (all_jobs(server)[1].request.image, all_jobs(server)[1].model) == (id, "other")


def test_text_to_image_takes_pictures_beside_its_prompt(server: RunningServer, client: InferenceClient) -> None:
    own = {
        "image": base64.b64encode(PNG).decode(),
        "controlnet": "canny",
        "control_image": base64.b64encode(PNG).decode(),
    }
    assert client.text_to_image("a boat", extra_body=own).size == (96, 64)
    request = all_jobs(server)[0].request
    assert (request.prompt, request.controls[0].model, request.controls[0].image) == ("a boat", "canny", request.image)


def test_what_is_no_picture_is_refused_by_name(server: RunningServer, client: InferenceClient) -> None:
    with pytest.raises(BadRequestError, match="inputs: "):
        client.image_to_image(b"no picture", prompt="a")
    answer = post(
        f"{server.url}/hf", json={"inputs": "a", "parameters": {"control_image": "AAAA", "lora_weights": "x"}}
    )
    assert "parameters.controlnet: " in answer.json()["error"]
    assert all_jobs(server) == []


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
async def test_the_async_client(server: RunningServer) -> None:
    async with AsyncInferenceClient(model=f"{server.url}/hf") as client:
        assert (await client.image_to_image(PNG, prompt="a")).size == (96, 64)


def test_on_the_real_engine(engine_server: RunningServer) -> None:
    client = InferenceClient(model=f"{engine_server.url}/hf")
    given: dict[str, Any] = {"prompt": "a boat", "num_inference_steps": 3, "seed": 5}
    near, far = (client.image_to_image(PNG, strength=strength, **given) for strength in (0.1, 1))
    assert near.size == far.size == (96, 64)
    assert near.tobytes() != far.tobytes()
