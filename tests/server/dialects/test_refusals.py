"""Every dialect answers what it refuses, and jobs that fail, without places of files, and all unknown names at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.backends.engine import EngineBackend
from tests.checkpoints import write_tiny_checkpoint
from tests.server.conftest import running
from tests.server.dialects.comfyui.client import graph_of
from tests.server.following import wait_for
from tests.server.queues import settings_in

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals") / "models"
    for kind in ("loras", "vae"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"cut_{kind}.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    write_tiny_checkpoint(folder / "tiny.safetensors", seed=0)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    settings = settings_in(
        folder.parent, backend="engine", model="tiny", models_folders=(folder,), device="cpu", unet_rows=4
    )
    with running(settings, EngineBackend(settings)) as server, httpx.Client(base_url=server.url, timeout=300) as client:
        yield client


def graph(**lora: Any) -> dict[str, Any]:
    made = graph_of("tiny.safetensors", **SMALL)
    inputs = {"strength_model": 1, "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1], **lora}
    made["20"] = {"class_type": "LoraLoader", "inputs": inputs}
    made["3"]["inputs"]["model"] = ["20", 0]
    return made


BROKEN = {
    "native": ("/api/v1/generate", SMALL | {"loras": [{"name": "cut_loras"}]}, 422),
    "sdapi": ("/sdapi/v1/txt2img", SMALL | {"prompt": "<lora:cut_loras:1>"}, 422),
    "sdapi with a VAE": ("/sdapi/v1/txt2img", SMALL | {"override_settings": {"sd_vae": "cut_vae"}}, 422),
    "openai": ("/v1/images/generations", {"prompt": "x", "size": "64x64", "loras": [{"name": "cut_loras"}]}, 422),
    "replicate": ("/v1/predictions", {"version": "tiny", "input": SMALL | {"lora_weights": "cut_loras"}}, 201),
    "huggingface": ("/hf", {"inputs": "x", "parameters": SMALL | {"lora_weights": "cut_loras"}}, 422),
    "comfyui": ("/prompt", {"prompt": graph(lora_name="cut_loras.safetensors")}, 200),
}
"""A path and a body that names a broken file → the status."""

UNKNOWN = {
    "native": ("/api/v1/generate", {"one_x": 1, "two_x": 2}, 400),
    "native, files": ("/api/v1/generate", SMALL | {"vae": "one_x", "loras": [{"name": "two_x"}]}, 400),
    "sdapi": ("/sdapi/v1/txt2img", {"one_x": 1, "two_x": 2}, 422),
    "openai": ("/v1/images/generations", {"prompt": "x", "one_x": 1, "two_x": 2}, 400),
    "replicate": ("/v1/predictions", {"version": "tiny", "input": {"one_x": 1, "two_x": 2}}, 400),
    "huggingface": ("/hf", {"inputs": "x", "parameters": {"one_x": 1, "two_x": 2}}, 400),
    "comfyui": ("/prompt", {"prompt": graph(lora_name="one_x") | {"21": {"class_type": "two_x", "inputs": {}}}}, 400),
}


def ended(client: httpx.Client, answer: httpx.Response) -> str:
    """What a call says in the end, also where the job is asked for."""
    if "prompt_id" in answer.json() and not answer.json().get("node_errors"):
        id = answer.json()["prompt_id"]
        wait_for(lambda: id in client.get(f"/history/{id}").json())
        return client.get(f"/history/{id}").text + client.get(f"/api/jobs/{id}").text
    if "urls" in answer.json():
        url = answer.json()["urls"]["get"]
        wait_for(lambda: client.get(url).json()["status"] == "failed")
        return client.get(url).text
    return answer.text


@pytest.mark.parametrize("dialect", BROKEN)
def test_a_broken_file_is_named_without_its_place(client: httpx.Client, folder: Path, dialect: str) -> None:
    path, body, status = BROKEN[dialect]
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    said = ended(client, answer)
    assert "cut_vae.safetensors: " in said or "cut_loras.safetensors: " in said
    assert str(folder.parent) not in said
    if dialect == "comfyui":
        assert "workflow node 20 (LoraLoader) lora_name: cut_loras.safetensors: " in said


@pytest.mark.parametrize("dialect", UNKNOWN)
def test_all_unknown_names_are_said_at_once(client: httpx.Client, folder: Path, dialect: str) -> None:
    path, body, status = UNKNOWN[dialect]
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert "one_x" in answer.text
    assert "two_x" in answer.text
    assert str(folder.parent) not in answer.text
