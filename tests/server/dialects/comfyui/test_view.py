"""Tests ComfyUI's pictures, lists and system figures."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from engine.formats.infotext import request_from_infotext
from engine.formats.png import text_chunks
from server.backends.instant import InstantBackend
from server.dialects.comfyui import DIALECT
from server.settings import Settings
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, opened, painted_over, wait_until_done


def test_pictures_in_other_formats(comfy: Comfy) -> None:
    id = comfy.queue(graph_of())
    wait_until_done(comfy, id)
    picture = comfy.history(id)["outputs"]["9"]["images"][0]

    def view(path: str = "/view", **query: str) -> httpx.Response:
        return httpx.get(comfy.url + path, params=picture | query)

    plain = view()
    assert (plain.headers["content-type"], opened(plain.content).format) == ("image/png", "PNG")
    assert picture["filename"] in plain.headers["content-disposition"]
    for preview, kind in [("webp;90", "WEBP"), ("webp", "WEBP"), ("jpeg;5", "JPEG"), ("jpeg;100", "JPEG")]:
        for path in ("/view", "/api/view"):
            answer = view(path, preview=preview)
            assert (opened(answer.content).format, answer.headers["content-type"]) == (kind, f"image/{kind.lower()}")
    assert len(view(preview="jpeg;5").content) <= len(view(preview="jpeg;100").content)
    assert opened(view(channel="rgb").content).tobytes() == opened(plain.content).tobytes()
    assert view(type="temp").content == view(filename=f"{picture['filename']} [output]").content == plain.content
    assert opened(view(channel="a").content).getpixel((0, 0)) == (0, 0, 0, 255)
    refusals = [{"preview": bad} for bad in ("png", "jpeg;0", "jpeg;101", "jpeg;x", "webp;90;1", "")]
    for bad in [*refusals, {"channel": "b"}, {"type": "models"}]:
        assert view(**bad).status_code == 400, bad
    assert view(type="input").status_code == view(subfolder="../x").status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../jobs.sqlite",
            "/etc/passwd",
            "..%2fjobs.sqlite",
            "....//jobs.sqlite",
            "a/b.png",
            "a\\b.png",
            "\0.png",
            "",
        ),
        *(".png", "jobs.sqlite", "x.png\n", "ü.png", "unknown.png", "a" * 5000 + ".png", "x.png.part"),
    ],
)
@pytest.mark.parametrize("subfolder", ["", "..", "/etc", "../../.."])
def test_no_path_leads_out_of_the_pictures(refusing: Comfy, name: str, subfolder: str) -> None:
    for query in ({"filename": name, "subfolder": subfolder}, {"filename": "secret.png", "subfolder": subfolder}):
        for kind in ("output", "input", "temp"):
            answer = httpx.get(f"{refusing.url}/view", params=query | {"type": kind})
            assert answer.status_code == 404
            assert answer.json()["error"]["type"] == "not_found"


def test_a_view_of_nothing_is_refused(refusing: Comfy) -> None:
    assert httpx.get(f"{refusing.url}/view").status_code == 400


def test_a_picture_carries_the_graph_that_was_posted_for_it(server: RunningServer, comfy: Comfy) -> None:
    graph = graph_of(seed=2**64 - 1, steps=3, batch_size=2)
    graph["one more"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}, "_meta": {"title": "mine"}}
    workflow = {"id": "w", "nodes": [{"id": 1, "type": "Note"}], "links": []}
    kept = {"workflow": workflow, "seen": [1, "é"], "engine": 1, "transparency": 2, "\u3042": 3, "": 4, "x" * 80: 5}
    id = comfy.queue(graph, extra_data={"extra_pnginfo": kept})
    wait_until_done(comfy, id)
    names = [each["filename"] for each in comfy.history(id)["outputs"]["9"]["images"]]
    for place, name in enumerate(names):
        png = httpx.get(f"{server.url}/view", params={"filename": name}).content
        texts = text_chunks(png)
        assert set(texts) == {"prompt", "workflow", "seen", "parameters", "engine"}
        assert [json.loads(texts[each]) for each in ("prompt", "workflow", "seen")] == [graph, workflow, [1, "é"]]
        assert json.loads(texts["engine"])["index"] == place
        read = httpx.post(f"{server.url}/api/v1/parameters", content=png).json()["parameters"]
        assert (read["seed"], read["steps"], read["batch_size"]) == (2**64 - 1, 3, 2)
        assert request_from_infotext(texts["parameters"]).seed == 2**64 - 1
        for format in ("jpeg", "webp"):
            file = name.removeprefix("ComfyUI_").replace("_.png", f".{format}")
            assert httpx.get(f"{server.url}/api/v1/images/{file}").status_code == 200


def test_a_picture_of_some_outputs_of_a_graph_can_be_made_again(server: RunningServer, comfy: Comfy) -> None:
    graph = graph_of(seed=1)
    other = graph_of(seed=2)
    graph |= {"13": other["3"], "18": other["8"], "19": other["9"]}
    graph["18"]["inputs"]["samples"], graph["19"]["inputs"]["images"] = ["13", 0], ["18", 0]
    id = comfy.queue(graph, partial_execution_targets=["19"])
    wait_until_done(comfy, id)
    name = comfy.history(id)["outputs"]["19"]["images"][0]["filename"]
    png = httpx.get(f"{server.url}/view", params={"filename": name}).content
    assert json.loads(text_chunks(png)["prompt"]) == graph
    assert httpx.post(f"{server.url}/api/v1/parameters", content=png).json()["parameters"]["seed"] == 2


def test_what_there_is(refusing: Comfy) -> None:
    assert refusing.get("/models/checkpoints") == ["instant.safetensors", "other.safetensors"]
    assert "checkpoints" in refusing.get("/models")
    assert all(refusing.get(f"/models/{folder}") == [] for folder in refusing.get("/models") if folder != "checkpoints")
    assert httpx.get(f"{refusing.url}/models/..%2f").status_code == 404
    assert [each["name"] for each in refusing.get("/experiment/models")] == refusing.get("/models")
    assert [each["name"] for each in refusing.get("/experiment/models/checkpoints")] == refusing.get(
        "/models/checkpoints"
    )
    assert refusing.get("/embeddings") == refusing.get("/extensions") == []
    assert refusing.get("/features")["supports_preview_metadata"] is True
    stats = refusing.get("/system_stats")
    assert stats["system"]["ram_total"] > 0
    assert set(stats["devices"][0]) >= {"name", "type", "index", "vram_total", "vram_free"}
    every = refusing.get("/object_info")
    for name, info in every.items():
        assert refusing.get(f"/api/object_info/{name}") == {name: info}
    assert refusing.get("/object_info/Nope") == {}


@pytest.mark.parametrize(
    ("device", "type", "index"),
    [("cpu (AMD EPYC: 4 cores)", "cpu", 0), ("cuda:1 (NVIDIA H100)", "cuda", 1), ("cuda", "cuda", 0)],
)
def test_a_device_goes_by_its_type_and_its_name(
    refusing: Comfy, monkeypatch: pytest.MonkeyPatch, device: str, type: str, index: int
) -> None:
    monkeypatch.setattr(InstantBackend, "status", lambda self: {"device": device})
    (shown,) = refusing.get("/system_stats")["devices"]
    assert (shown["name"], shown["type"], shown["index"]) == (device, type, index)


def test_freeing_unloads(server: RunningServer, comfy: Comfy) -> None:
    assert any(model.resident for model in server.backend.models())
    comfy.send("/free", unload_models=False)
    assert any(model.resident for model in server.backend.models())
    comfy.send("/free", unload_models=True, free_memory=True)
    assert not any(model.resident for model in server.backend.models())
    id = comfy.queue(graph_of())
    wait_until_done(comfy, id)


@pytest.mark.parametrize(
    ("path", "owned"),
    [
        *((path, True) for path in ("/prompt", "/api/prompt", "/ws", "/history/x", "/api/jobs", "/api/jobs/x/cancel")),
        *((path, False) for path in ("/", "/jobs", "/api/v1/jobs", "/api/v1/models", "/v1/models", "/promptly")),
    ],
)
def test_which_paths_are_its_own(path: str, owned: bool) -> None:
    assert DIALECT.owns(path) == owned


def test_no_such_route_in_its_own_words(refusing: Comfy) -> None:
    answer = httpx.put(f"{refusing.url}/queue")
    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "method_not_allowed")


def test_a_storage_that_fails_is_no_defect_of_the_server(comfy: Comfy, settings: Settings) -> None:
    Path(settings.outputs).mkdir()
    name = f"{'0' * 32}-1-0.png"
    Path(settings.outputs, name).symlink_to(name)  # which leads to itself, so that reading it fails
    graph = painted_over(graph_of(), f"x_{name} [output]")
    for answer in (httpx.get(f"{comfy.url}/view", params={"filename": f"x_{name}"}), comfy.post(graph)):
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "storage_failed")
        assert settings.outputs not in answer.text
