"""ComfyUI's pictures, lists and machine."""

from __future__ import annotations

import httpx
import pytest

from server.dialects import comfyui
from server.fake import InstantBackend
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, opened, wait_until_done


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
    assert view(channel="rgb").content == plain.content
    assert view(type="temp").content == view(filename=f"{picture['filename']} [output]").content == plain.content
    refusals = [{"preview": bad} for bad in ("png", "jpeg;0", "jpeg;101", "jpeg;x", "webp;90;1", "")]
    for bad in [*refusals, {"channel": "a"}, {"type": "models"}]:
        assert view(**bad).status_code == 400, bad
    assert view(type="input").status_code == view(subfolder="x").status_code == 404


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


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_no_picture_is_taken(refusing: Comfy, kind: str) -> None:
    answer = httpx.post(f"{refusing.url}/upload/{kind}", files={"image": ("a.png", b"x")})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "unsupported")
    assert "LoadImage" in answer.json()["error"]["details"]


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
    (told,) = refusing.get("/system_stats")["devices"]
    assert (told["name"], told["type"], told["index"]) == (device, type, index)


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
    assert comfyui.owns(path) == owned


def test_no_such_route_in_its_own_words(refusing: Comfy) -> None:
    answer = httpx.put(f"{refusing.url}/queue")
    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "method_not_allowed")
