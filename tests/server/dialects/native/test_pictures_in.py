"""Requests and workflows start from pictures: as text, by their ids, and as the parts of a form."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "denoise": 0.5}


def file(colour: str = "teal") -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(made, "PNG")
    return made.getvalue()


def id_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_picture_may_be_text_an_id_or_a_part_of_a_form(client: httpx.Client) -> None:
    data, text = file(), base64.b64encode(file()).decode()
    id = client.post("/inputs", content=data).json()["id"]
    calls = [
        client.post("/generate", json=SMALL | {"image": each}) for each in (text, f"data:image/png;base64,{text}", id)
    ]
    calls.append(client.post("/generate", data=SMALL, files={"image": ("any.png", data)}))
    calls.append(client.post("/generate", files={"image": data, "request": (None, json.dumps(SMALL))}))
    for answer in calls:
        assert answer.status_code == 200, answer.text
        assert answer.json()["parameters"]["image"] == id == id_of(data)
        assert answer.json()["parameters"]["denoise"] == 0.5


def test_a_mask_is_a_part_too(client: httpx.Client) -> None:
    files = {"image": file("red"), "mask": file("white")}
    answer = client.post("/generate", data=SMALL, files=files)
    assert answer.json()["parameters"]["mask"] == id_of(files["mask"])


@pytest.mark.parametrize(
    ("data", "files", "field"),
    [
        ({}, {"image": b"no picture"}, "image"),
        ({"steps": "many"}, {"image": file()}, "steps"),
        ({"stps": "2"}, {"image": file()}, "stps"),
        ({}, {"picture": file()}, "picture"),
        ({"steps": "2"}, {"request": (None, '{"steps": 3}')}, "steps"),
        ({}, {"request": (None, "[]")}, "request"),
        ({"mask": "null"}, {"mask": file()}, "mask"),
    ],
)
def test_what_is_wrong_with_a_form_is_named(client: httpx.Client, data: Any, files: Any, field: str) -> None:
    answer = client.post("/generate", data=data, files=files)
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def test_a_workflow_comes_with_its_pictures_by_their_names(client: httpx.Client) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    parts = {"workflow": json.dumps(graph).encode(), "photo.png": file()}
    answer = client.post("/workflow", files=parts)
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"][0]["node"] == "9"
    answer = client.post("/workflow", files=parts | {"other.png": file()})
    assert (answer.status_code, answer.json()["field"]) == (400, "other.png")
    assert "photo.png" in answer.json()["detail"]
    answer = client.post("/workflow", files={"photo.png": file()})
    assert (answer.status_code, answer.json()["field"]) == (400, "workflow")


def test_a_value_beside_a_workflow_replaces_one_that_cannot_be_read(client: httpx.Client) -> None:
    graph = api_workflow(GenerationRequest(steps=2, width=64, height=64), checkpoint_file="instant.safetensors")
    graph["5"]["inputs"]["width"] = "%width%"
    graph["3"]["inputs"]["steps"] = "many"
    refused = client.post("/workflow?width=128", json=graph)
    assert (refused.status_code, refused.json()["field"]) == (400, "workflow node 3 (KSampler) steps")
    made = client.post("/workflow?width=128&steps=3", json=graph)
    assert made.status_code == 200, made.text
    assert (made.json()["parameters"]["width"], made.json()["parameters"]["steps"]) == (128, 3)
    graph["6"]["class_type"] = "Unknown"
    assert client.post("/workflow?width=128&steps=3", json=graph).status_code == 400


def test_the_parameters_of_a_workflow_have_its_parts(client: httpx.Client) -> None:
    request = GenerationRequest(image="photo.png", vae="soft.pt", seed=3)
    graph = api_workflow(request, checkpoint_file="instant.safetensors")
    answer = client.post("/parameters", json=graph).json()["parameters"]
    assert (answer["image"], answer["vae"], answer["seed"]) == ("photo.png", "soft.pt", 3)


def test_the_answer_may_be_the_picture_of_a_workflow_that_loads_pictures(client: httpx.Client) -> None:
    id = client.post("/inputs", content=file("navy")).json()["id"]
    for name, pictures in (("photo.png", {"photo.png": file()}), (id, {})):
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": name}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
        }
        parts = {"workflow": json.dumps(graph).encode(), **pictures}
        answer = client.post("/workflow?response_format=png", files=parts)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        graph["4"] = graph["3"]
        answer = client.post("/workflow?response_format=png", files=parts | {"workflow": json.dumps(graph).encode()})
        assert (answer.status_code, answer.json()["field"]) == (400, "response_format")
