"""ComfyUI's prompts become jobs, and jobs its history."""

from __future__ import annotations

import io
import json
import re
import struct
from typing import Any

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, hires_graph, wait_until_done
from tests.server.following import all_jobs


def test_a_prompt_becomes_a_job(server: RunningServer, comfy: Comfy) -> None:
    asked: dict[str, Any] = {"prompt": "a", "width": 64, "height": 128, "steps": 2, "batch_size": 3, "clip_skip": 2}
    graph = graph_of("other.safetensors", seed=2**64 - 1, **asked)
    id = comfy.queue(graph, extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}, "api_key_comfy_org": "secret"})
    wait_until_done(comfy, id)
    job = all_jobs(server)[0]
    assert job.requests == (GenerationRequest(model="other", seed=2**64 - 1, **asked),)
    assert (job.id, job.dialect, job.priority) == (id, "comfyui", 0)
    assert "secret" not in json.dumps(dict(job.extra))
    assert [image.size for image in comfy.pictures(id)["9"]] == [(64, 128)] * 3


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_history_says_all_that_comfyuis_says(comfy: Comfy, prefix: str) -> None:
    graph = graph_of()
    id = comfy.queue(graph, extra_data={"a": 1})
    wait_until_done(comfy, id)
    ((key, item),) = comfy.get(f"{prefix}/history/{id}").items()
    number, prompt_id, prompt, extra_data, outputs = item["prompt"]
    assert (key, prompt_id, prompt, outputs, number) == (id, id, graph, ["9"], 1)
    assert (extra_data["a"], extra_data["client_id"]) == (1, "example")
    assert isinstance(extra_data["create_time"], int)
    (picture,) = item["outputs"]["9"]["images"]
    assert (picture["subfolder"], picture["type"]) == ("", "output")
    status = item["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert [kind for kind, _ in status["messages"]] == ["execution_start", "execution_cached", "execution_success"]
    assert item["meta"]["9"]["node_id"] == "9"


def test_names_of_pictures_begin_as_the_caller_says_and_cannot_be_guessed(comfy: Comfy) -> None:
    graph = graph_of(batch_size=2)
    graph["9"]["inputs"]["filename_prefix"] = "trips\\%KSampler.steps%/lake %width%x%height% %batch_num%"
    ids = [comfy.queue(graph), comfy.queue(graph)]
    wait_until_done(comfy, *ids)
    images = [each for id in ids for each in comfy.history(id)["outputs"]["9"]["images"]]
    names = [re.fullmatch(r"lake 64x64 ([01])_([0-9a-f]{32})-1-[01]_\.png", each["filename"]) for each in images]
    assert [match[1] for match in names if match] == ["0", "1", "0", "1"]
    assert len({match[2] for match in names if match}) == 2
    assert {(each["subfolder"], each["type"]) for each in images} == {("trips/3", "output")}
    assert all(httpx.get(f"{comfy.url}/view", params=each).status_code == 200 for each in images)


@pytest.mark.parametrize("prefix", ["../mine", "a/../../b", "/etc/passwd", "..\\x", "x" * 201])
def test_a_prefix_that_leads_out_of_the_outputs_is_refused(comfy: Comfy, prefix: str) -> None:
    graph = graph_of()
    graph["9"]["inputs"]["filename_prefix"] = prefix
    answer = comfy.post(graph)
    assert answer.status_code == 400
    assert answer.json()["node_errors"]["9"]["errors"][0]["extra_info"]["input_name"] == "filename_prefix"


def test_several_output_nodes_show_one_picture(comfy: Comfy) -> None:
    graph = graph_of()
    graph["a b"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    graph["idle"] = {"class_type": "PreviewImage", "inputs": {}}
    id = comfy.queue(graph)
    wait_until_done(comfy, id)
    outputs = comfy.history(id)["outputs"]
    assert set(outputs) == {"9", "a b"}
    names = {each["images"][0]["filename"].split("_")[-2] for each in outputs.values()}
    assert len(names) == 1
    assert outputs["a b"]["images"][0]["type"] == "temp"
    assert comfy.pictures(id)["a b"][0].size == (64, 64)


def test_outputs_that_can_be_made_are_made_and_what_is_wrong_with_the_others_is_said(comfy: Comfy) -> None:
    graph = graph_of()
    graph["20"] = {"class_type": "VAELoader", "inputs": {"vae_name": "x.pt"}}
    graph["21"] = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["20", 0]}}
    graph["22"] = {"class_type": "PreviewImage", "inputs": {"images": ["21", 0]}}
    answer = comfy.post(graph).json()
    assert (list(answer["node_errors"]), answer["node_errors"]["20"]["dependent_outputs"]) == (["20"], ["22"])
    wait_until_done(comfy, answer["prompt_id"])
    assert set(comfy.history(answer["prompt_id"])["outputs"]) == {"9"}
    graph["4"]["inputs"]["ckpt_name"] = "absent"
    assert set(comfy.post(graph).json()["node_errors"]) == {"4", "20"}


def test_what_no_input_takes_is_kept_beside_them(comfy: Comfy) -> None:
    graph = graph_of()
    graph["3"]["inputs"]["preview_method"] = "auto"
    graph["6"]["inputs"]["text"] = 123
    text = json.dumps({"prompt": graph, "extra_data": {"x": 7777}}).replace(
        '"_meta": {', '"is_changed": [NaN], "_meta": {'
    )
    id = httpx.post(f"{comfy.url}/prompt", content=text.replace("7777", "NaN")).json()["prompt_id"]
    wait_until_done(comfy, id)
    assert comfy.history(id)["prompt"][2]["6"]["inputs"]["text"] == 123


def test_only_the_outputs_that_are_named_are_made(comfy: Comfy) -> None:
    graph = graph_of()
    graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    id = comfy.queue(graph, partial_execution_targets=["10"])
    wait_until_done(comfy, id)
    assert set(comfy.history(id)["outputs"]) == {"10"}
    answer = comfy.post(graph, partial_execution_targets=["8"])
    assert (answer.status_code, "'8'" in answer.json()["error"]["details"]) == (400, True)


def test_the_caller_may_choose_the_id_once(comfy: Comfy) -> None:
    id = "0b0f6ad1-6a6e-4c3e-9c0f-5ba0d2f5a001"
    assert comfy.queue(graph_of(), prompt_id=id) == id
    again = comfy.post(graph_of(seed=2), prompt_id=id)
    assert (again.status_code, again.json()["error"]["type"]) == (409, "id_taken")
    wait_until_done(comfy, id)


def test_an_idempotency_key_gives_the_prompt_it_gave_before(comfy: Comfy, server: RunningServer) -> None:
    def post(seed: int) -> httpx.Response:
        body = {"prompt": graph_of(seed=seed)}
        return httpx.post(f"{server.url}/prompt", json=body, headers={"Idempotency-Key": "k"})

    assert post(1).json()["prompt_id"] == post(1).json()["prompt_id"]
    assert post(2).status_code == 409
    assert len(all_jobs(server)) == 1


def test_a_body_without_a_content_type_is_json(server: RunningServer, comfy: Comfy) -> None:
    """Python's urllib calls it a form, as ComfyUI's example script does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = json.dumps({"prompt": graph_of()}).encode()
    assert httpx.post(f"{server.url}/prompt", content=body, headers=headers).status_code == 200


def test_each_output_node_has_the_pictures_of_its_own_sampling(comfy: Comfy) -> None:
    id = comfy.queue(hires_graph())
    wait_until_done(comfy, id)
    pictures = comfy.pictures(id)
    assert {node: image.size for node, (image,) in pictures.items()} == {"9": (64, 64), "14": (128, 128)}
    stored = json.loads(pictures["14"][0].text["prompt"])  # type: ignore[attr-defined]
    assert stored["12"]["class_type"] == "KSampler"


def test_both_samplers_report_their_steps_under_their_own_node(comfy: Comfy) -> None:
    comfy.connect()
    id = comfy.queue(hires_graph())
    messages = [each for each in comfy.until_done(id) if not isinstance(each, bytes)]
    comfy.disconnect()
    last = {each["data"]["node"]: each["data"]["value"] for each in messages if each["type"] == "progress"}
    assert last == {"3": 3, "12": 3}
    entered = [each["data"]["node"] for each in messages if each["type"] == "executing"]
    assert entered.index("3") < entered.index("11") < entered.index("12") < entered.index("14")


def test_a_picture_for_the_websocket_is_a_binary_message(comfy: Comfy) -> None:
    comfy.connect()
    id = comfy.queue(hires_graph(second="SaveImageWebsocket"))
    frames = [each for each in comfy.until_done(id) if isinstance(each, bytes)]
    comfy.disconnect()
    pngs = [frame[8:] for frame in frames if frame[:8] == struct.pack(">II", 1, 2)]
    assert [Image.open(io.BytesIO(png)).size for png in pngs] == [(128, 128)]
    assert set(comfy.history(id)["outputs"]) == {"9"}
