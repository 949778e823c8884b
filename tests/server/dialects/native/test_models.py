"""Tests models, names and the server's state over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.request import SAMPLERS, SCHEDULERS
from server.backends.engine import EngineBackend
from server.backends.instant import InstantBackend
from tests.adapters import write_adapter
from tests.server.conftest import running
from tests.server.queues import settings_in


def test_models_are_listed_loaded_and_let_go(client: httpx.Client) -> None:
    def resident() -> dict[str, bool]:
        return {model["name"]: model["resident"] for model in client.get("/models").json()["models"]}

    models = client.get("/models").json()["models"]
    assert [(model["name"], model["default"]) for model in models] == [("instant", True), ("other", False)]
    assert "path" not in models[0]
    assert resident() == {"instant": True, "other": False}
    assert client.post("/models/other/load").json()["resident"] is True
    assert resident() == {"instant": True, "other": True}
    assert client.post("/models/other/unload").json()["resident"] is False
    assert client.post("/models/other/unload").status_code == 200
    for verb, resides in (("load", True), ("unload", False)):
        model = client.post(f"/models/other.safetensors/{verb}").json()
        assert (model["name"], model["resident"]) == ("other", resides)
    for verb in ("load", "unload"):
        assert client.post(f"/models/nowhere/{verb}").status_code == 404


def test_names_and_state_are_listed(client: httpx.Client) -> None:
    assert client.get("/samplers").json() == {"names": list(SAMPLERS), "default": "euler"}
    assert client.get("/schedulers").json() == {"names": list(SCHEDULERS), "default": "normal"}
    status = client.get("/status").json()
    assert status["ready"] is True
    assert "native" in status["dialects"]


@pytest.mark.parametrize("kind", ["lora", "vae", "controlnet", "embedding", "upscaler"])
def test_files_of_other_kinds_are_listed(client: httpx.Client, kind: str) -> None:
    assert client.get("/models", params={"kind": kind}).json() == {"models": []}
    assert client.get("/models", params={"kind": "checkpoint"}).json() == client.get("/models").json()


def test_a_lora_is_listed_by_its_name_below_its_folder(tmp_path: Path, tiny_checkpoint: Path) -> None:
    folder = tmp_path / "models"
    write_adapter(folder / "loras" / "style" / "ink.safetensors")
    (folder / "tiny.safetensors").symlink_to(tiny_checkpoint)
    settings = settings_in(tmp_path, backend="engine", model="tiny", models_folders=(folder,), device="cpu")
    with running(settings, EngineBackend(settings)) as server:
        (found,) = httpx.get(f"{server.url}/api/v1/models", params={"kind": "lora"}).json()["models"]
    assert (found["name"], found["size"] > 0) == ("style/ink.safetensors", True)


def test_a_kind_that_does_not_exist_is_refused(client: httpx.Client) -> None:
    answer = client.get("/models", params={"kind": "loras"})
    assert (answer.status_code, answer.json()["field"]) == (400, "kind")
    assert "lora" in answer.json()["detail"]


def test_a_model_that_only_its_folder_tells_from_another_is_loaded_too(open_server: Callable[..., Any]) -> None:
    server = open_server(InstantBackend(names=("instant", "old/other", "new/other")))
    for verb, resides in (("load", True), ("unload", False)):
        model = httpx.post(f"{server.url}/api/v1/models/old/other/{verb}").json()
        assert (model["name"], model["resident"]) == ("old/other", resides)
