"""Tests models, names and the server's state over HTTP."""

from __future__ import annotations

import httpx

from engine.request import SAMPLERS, SCHEDULERS


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
