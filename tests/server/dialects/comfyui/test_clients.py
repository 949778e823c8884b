"""Runs ComfyUI's clients against the real server: comfy-api-simplified, and the calls of other programs."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket
from PIL import Image

from engine import GenerationRequest
from engine.formats.infotext import request_from_infotext
from server.backends.instant import InstantBackend
from server.web.access import new_key
from tests.graphs import shipped
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, Graph, graph_of, kinds, opened, painted_over
from tests.server.following import all_jobs, wait_for

simplified = pytest.importorskip("comfy_api_simplified")
from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper  # noqa: E402
from comfy_api_simplified.exceptions import ComfyApiError  # noqa: E402


@pytest.fixture
def wrapper(server: RunningServer) -> ComfyApiWrapper:
    return ComfyApiWrapper(server.url)


def test_comfy_api_simplified_gets_the_final_picture(server: RunningServer, wrapper: ComfyApiWrapper) -> None:
    """It does not get a preview, since it would take any binary message for the picture."""
    server.backend.step_seconds = 0.05
    workflow = ComfyWorkflowWrapper(graph_of(steps=20))
    workflow.set_node_param("KSampler", "seed", 7)
    workflow.set_node_param("Empty Latent Image", "batch_size", 2)
    found = wrapper.queue_and_wait_images(workflow, "Save Image")
    assert [opened(data).format for data in found.values()] == ["PNG", "PNG"]
    job = all_jobs(server)[0]
    assert list(found) == [f"ComfyUI_{picture.name.removesuffix('.png')}_.png" for picture in job.pictures]
    assert job.requests[0].seed == 7


def test_comfy_api_simplified_at_once(server: RunningServer, wrapper: ComfyApiWrapper) -> None:
    """It connects its websocket when the prompt may be done already, among other callers' prompts."""
    other = Comfy(server, connect=False)
    server.backend.step_seconds = 0.05
    blocking = other.queue(graph_of(steps=1000))
    with ThreadPoolExecutor(4) as pool:
        graphs = [ComfyWorkflowWrapper(graph_of(steps=2, seed=seed)) for seed in range(8)]
        found = list(pool.map(lambda graph: wrapper.queue_and_wait_images(graph, "Save Image"), graphs))
    assert len({name for each in found for name in each}) == 8
    other.send("/interrupt", prompt_id=blocking)


def test_comfy_api_simplifieds_other_calls(server: RunningServer, wrapper: ComfyApiWrapper, tmp_path: Path) -> None:
    assert wrapper.get_queue() == {"queue_running": [], "queue_pending": []}
    assert "KSampler" in wrapper.get_object_info()
    assert list(wrapper.get_object_info("VAEDecode")) == ["VAEDecode"]
    assert wrapper.get_system_stats()["system"]["os"]
    assert wrapper.get_embeddings() == []
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ComfyApiError, match="400"):
        wrapper.upload_image(tmp_path / "a.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.png")
    uploaded = wrapper.upload_image(tmp_path / "b.png")
    assert uploaded == {"name": "b.png", "subfolder": "default_upload_folder", "type": "input"}
    graph = ComfyWorkflowWrapper(painted_over(graph_of(), "x"))
    graph.set_node_param("Load Image", "image", f"{uploaded['subfolder']}/{uploaded['name']}")
    assert len(wrapper.queue_and_wait_images(graph, "Save Image")) == 1
    with pytest.raises(ComfyApiError, match="400"):
        wrapper.queue_prompt({"1": {"class_type": "Nope", "inputs": {}}})
    server.backend.step_seconds = 0.05
    id = wrapper.queue_prompt(graph_of(steps=1000))["prompt_id"]
    wait_for(lambda: wrapper.get_queue()["queue_running"] != [])
    assert wrapper.get_queue_size_before(id) == 0
    wrapper.interrupt()
    wait_for(lambda: wrapper.get_history(id) != {})


def test_comfy_api_simplified_hears_of_failures(wrapper: ComfyApiWrapper, server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    comfy = Comfy(server, connect=False)
    other = comfy.queue(graph_of(steps=1000))  # with an empty queue it would not wait for the error
    with pytest.raises(ComfyApiError, match="Execution error"):
        wrapper.queue_and_wait_images(ComfyWorkflowWrapper(graph_of(prompt="fail", steps=10)), "Save Image")
    comfy.send("/interrupt", prompt_id=other)


def test_comfy_api_simplified_with_a_key(open_server: Callable[..., RunningServer]) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(step_seconds=0.05), api_keys={"me": digest})
    wrapper = ComfyApiWrapper(server.url, user="anyone", password=key)
    found = wrapper.queue_and_wait_images(ComfyWorkflowWrapper(graph_of(steps=10)), "Save Image")
    assert len(found) == 1
    with pytest.raises(ComfyApiError, match="401"):
        ComfyApiWrapper(server.url).get_queue()
    with pytest.raises(Exception, match="403"):
        websocket.create_connection(f"ws{server.url[4:]}/ws?clientId=a", timeout=60)


def with_urllib(url: str, graph: Graph, client_id: str) -> dict[str, Any]:
    """Post as ComfyUI's example does, with a content type that does not say JSON."""
    body = json.dumps({"prompt": graph, "client_id": client_id}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/prompt", data=body), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_open_webuis_course(server: RunningServer) -> None:
    """It connects, posts with urllib, waits for the last ``executing`` and builds picture URLs from the history."""
    server.backend.step_seconds = 0.02
    stats = httpx.get(f"{server.url}/object_info").json()
    models = stats["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    with Comfy(server, "webui") as comfy:
        id = with_urllib(server.url, graph_of(models[0], steps=10), "webui")["prompt_id"]
        while True:
            message = comfy.receive()
            if isinstance(message, str | bytes):
                continue
            if (
                message["type"] == "executing"
                and message["data"]["node"] is None
                and message["data"]["prompt_id"] == id
            ):
                break
        with urllib.request.urlopen(f"{server.url}/history/{id}", timeout=60) as answer:
            history = json.load(answer)[id]
    for output in history["outputs"].values():
        for picture in output["images"]:
            query = urllib.parse.urlencode({key: picture[key] for key in ("filename", "subfolder", "type")})
            with urllib.request.urlopen(f"{server.url}/view?{query}", timeout=60) as answer:
                assert opened(answer.read()).size == (64, 64)


def test_sillytaverns_course(server: RunningServer) -> None:
    """It reads its lists from all of ``/object_info``, polls the whole history and takes the first picture of any
    node."""
    assert httpx.get(f"{server.url}/system_stats").status_code == 200
    info = httpx.get(f"{server.url}/object_info").json()

    def choices(name: str, input: str) -> list[str]:
        found: list[str] = info[name]["input"]["required"][input][0]
        return found

    assert choices("KSampler", "sampler_name")[0] == "euler"
    assert choices("KSampler", "scheduler")[0] == "simple"
    assert choices("VAELoader", "vae_name") == choices("UNETLoader", "unet_name") == []
    server.backend.step_seconds = 0.02
    for prompt, status in (("a", "success"), ("fail", "error")):
        graph = graph_of(choices("CheckpointLoaderSimple", "ckpt_name")[1], prompt=prompt, steps=10)
        id = httpx.post(f"{server.url}/prompt", content=json.dumps({"prompt": graph})).json()["prompt_id"]
        wait_for(lambda id=id: id in httpx.get(f"{server.url}/history").json())  # type: ignore[misc]
        item = httpx.get(f"{server.url}/history").json()[id]
        assert item["status"]["status_str"] == status
        pictures = [picture for output in item["outputs"].values() for picture in output["images"]]
        if status == "success":
            picture = pictures[0]
            query = f"filename={picture['filename']}&subfolder={picture['subfolder']}&type={picture['type']}"
            assert opened(httpx.get(f"{server.url}/view?{query}").content).size == (64, 64)
        else:
            errors = [data for kind, data in item["status"]["messages"] if kind == "execution_error"]
            assert errors[0]["node_type"] == "KSampler"
            assert "failure" in errors[0]["exception_message"]


def test_sillytavern_gives_up(server: RunningServer) -> None:
    """It posts an interrupt without a body when its own caller hangs up."""
    server.backend.step_seconds = 0.05
    comfy = Comfy(server, connect=False)
    id = comfy.queue(graph_of(steps=1000))
    wait_for(lambda: comfy.get("/queue")["queue_running"] != [])
    assert httpx.post(f"{server.url}/interrupt").status_code == 200
    wait_for(lambda: comfy.get(f"/history/{id}") != {})


def test_many_clients_at_once_lose_nothing(server: RunningServer) -> None:
    server.backend.step_seconds = 0.005

    def use(number: int) -> tuple[str, str]:
        with Comfy(server, f"client-{number}") as comfy:
            ids = [comfy.queue(graph_of(steps=1 + (number + n) % 7, seed=n)) for n in range(3)]
            for id in ids:
                assert kinds(comfy.until_done(id))[-1] == "executing"
            return ids[0], comfy.history(ids[0])["prompt"][1]

    with ThreadPoolExecutor(8) as pool:
        assert all(id == answered for id, answered in pool.map(use, range(16)))
    assert {job.state for job in all_jobs(server)} == {"succeeded"}


def test_the_missions_workflow(open_server: Callable[..., RunningServer]) -> None:
    model = "AWPainting_v1.3"
    server = open_server(InstantBackend(names=(model,)))
    with Comfy(server) as comfy:
        id = comfy.queue(shipped("awpainting_api.json"))
        comfy.until_done(id)
        assert comfy.pictures(id)["9"][0].size == (512, 512)
        assert all_jobs(server)[0].requests == (GenerationRequest(model=model),)
        answer = comfy.post(shipped("awpainting_ui.json"))
        assert answer.status_code == 400
        assert "API form" in answer.json()["error"]["details"]


def test_a_prompt_on_the_real_engine(engine_server: RunningServer) -> None:
    """A prompt has progress, previews and a picture; the same prompt again gives the same bytes."""
    graph = graph_of("tiny.safetensors", steps=6, sampler="dpmpp_2m", seed=2**63 + 1)
    graph["11"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    with Comfy(engine_server) as comfy:
        pictures = []
        for _ in range(2):
            id = comfy.queue(graph)
            messages = comfy.until_done(id)
            assert kinds(messages)[:2] == ["execution_start", "execution_cached"]
            assert kinds(messages)[-4:] == ["executing", "executed", "execution_success", "executing"]
            there = next(each["data"]["nodes"] for each in messages if kinds([each]) == ["execution_cached"])
            executed = [each["data"]["node"] for each in messages if kinds([each]) == ["executing"]]
            assert set(there) == ({"4", "6", "7"} if pictures else {"4"})
            assert {*there, *executed} == {*graph, None}
            assert not {*there} & {*executed}
            (picture,) = comfy.history(id)["outputs"]["9"]["images"]
            pictures.append(httpx.get(f"{comfy.url}/view", params=picture).content)
    assert pictures[0] == pictures[1]
    image = opened(pictures[0])
    assert image.size == (64, 64)
    request = request_from_infotext(image.text["parameters"])  # type: ignore[attr-defined]
    assert (request.steps, request.sampler, request.seed) == (6, "dpmpp_2m", 2**63 + 1)


def test_comfyuis_front_end_finds_nothing_kept_for_it(server: RunningServer) -> None:
    """It takes the bodies of errors for templates, translations and workflows."""
    with httpx.Client(base_url=f"{server.url}/api") as client:
        for path in ("i18n", "workflow_templates", "global_subgraphs", "settings"):
            assert client.get(f"/{path}").json() == {}
        assert client.get("/userdata", params={"dir": "workflows"}).json() == []
        refused = client.post("/settings/Comfy.InstalledVersion", json="1.0")
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "not_found")
