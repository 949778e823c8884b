"""ComfyUI's websocket sends each client the messages about its own prompts."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, hires_graph, kinds, opened
from tests.server.following import all_jobs, wait_for

LIFE = ["execution_start", "execution_cached", *["executing"] * 7, "executed", "execution_success", "executing"]


def nodes(messages: list[Any]) -> list[str | None]:
    """Return the nodes that were executed, in order."""
    reported = [each for each in messages if not isinstance(each, bytes)]
    return [each["data"]["node"] for each in reported if each["type"] == "executing"]


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_example_scripts_course(server: RunningServer, prefix: str) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server, connect=False) as comfy:
        first = comfy.connect(f"{prefix}/ws")
        assert first == {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "example"}}
        id = comfy.queue(graph_of(steps=10))
        messages = comfy.until_done(id)
        assert kinds(messages) == LIFE
        assert nodes(messages) == ["4", "6", "7", "5", "3", "8", "9", None]
        item = comfy.history(id)
        assert item["status"]["completed"]
        assert [image.size for image in comfy.pictures(id)["9"]] == [(64, 64)]
        executed = next(each for each in messages if not isinstance(each, bytes) and each["type"] == "executed")
        assert executed["data"] == {
            "node": "9",
            "display_node": "9",
            "output": item["outputs"]["9"],
            "prompt_id": id,
        }


@pytest.mark.parametrize("second", ["SaveImage", "SaveImageWebsocket"])
def test_a_nodes_pictures_are_sent_while_others_are_made(server: RunningServer, second: str) -> None:
    graph = hires_graph(second)
    graph["12"]["inputs"]["steps"] = 1000
    server.backend.step_seconds = 0.05
    with Comfy(server) as comfy:
        id = comfy.queue(graph)
        early = comfy.until("executed")
        assert early["node"] == "9"
        shown = early["output"]["images"][0]
        assert opened(httpx.get(f"{server.url}/view", params=shown).content).size == (64, 64)
        assert comfy.get(f"/history/{id}") == {}
        server.backend.step_seconds = 0.0
        messages = comfy.until_done(id)
        assert comfy.history(id)["outputs"]["9"] == early["output"]
    executed = [each["data"]["node"] for each in messages if is_json(each) and each["type"] == "executed"]
    assert executed == (["14"] if second == "SaveImage" else [])
    sent = [each for each in messages if isinstance(each, bytes) and each[:8] == struct.pack(">II", 1, 2)]
    assert [opened(each[8:]).size for each in sent] == ([] if executed else [(128, 128)])


def test_progress_counts_the_samplers_steps(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(steps=8))
        reported = [each for each in comfy.until_done(id) if not isinstance(each, bytes)]
    progress = [each["data"] for each in reported if each["type"] == "progress"]
    assert progress
    assert {(each["node"], each["max"], each["prompt_id"]) for each in progress} == {("3", 8, id)}
    values = [each["value"] for each in progress]
    assert values == sorted(values)
    assert values[-1] == 8
    states = [each["data"]["nodes"] for each in reported if each["type"] == "progress_state"]
    assert [each["3"]["value"] for each in states] == values
    assert all(each["4"]["state"] == "finished" and each["3"]["state"] == "running" for each in states)


def test_previews_are_jpegs_behind_two_numbers(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(steps=10, width=128))
        frames = [each for each in comfy.until_done(id) if isinstance(each, bytes)]
        final = comfy.pictures(id)["9"][0]
    assert frames
    for frame in frames:
        assert struct.unpack(">II", frame[:8]) == (1, 1)
        preview = opened(frame[8:])
        assert (preview.format, preview.size) == ("JPEG", (64, 32))
        shown, meant = preview.getpixel((0, 0)), final.getpixel((0, 0))
        assert isinstance(shown, tuple)
        assert isinstance(meant, tuple)
        assert all(abs(one - other) < 8 for one, other in zip(shown, meant, strict=True))


def test_previews_with_their_prompt_for_clients_that_know_them(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server) as comfy:
        comfy.socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        assert comfy.until("feature_flags") == {"supports_preview_metadata": True}
        id = comfy.queue(graph_of(steps=10))
        frames = [each for each in comfy.until_done(id) if isinstance(each, bytes)]
    assert frames
    for frame in frames:
        kind, length = struct.unpack(">II", frame[:8])
        assert kind == 4
        reported = json.loads(frame[8 : 8 + length])
        assert (reported["prompt_id"], reported["node_id"], reported["image_type"]) == (id, "3", "image/jpeg")
        assert opened(frame[8 + length :]).format == "JPEG"


def test_previews_for_who_asks_for_them(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server, connect=False) as comfy:
        id = comfy.queue(graph_of(steps=1000), extra_data={"preview_method": "auto"})
        comfy.connect()
        while not isinstance(comfy.receive(), bytes):
            pass
        comfy.send("/interrupt", prompt_id=id)


def test_no_previews_for_who_wants_none(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(steps=10), extra_data={"preview_method": "none"})
        assert not [each for each in comfy.until_done(id) if isinstance(each, bytes)]


def test_who_connects_after_posting_gets_no_previews(server: RunningServer) -> None:
    """A client that does so (comfy-api-simplified) takes every binary message for a result."""
    server.backend.step_seconds = 0.05
    with Comfy(server, connect=False) as comfy:
        id = comfy.queue(graph_of(steps=40))
        comfy.connect()
        messages = comfy.until_done(id)
    assert not [each for each in messages if isinstance(each, bytes)]
    assert "executing" in kinds(messages)


def test_two_clients_messages_do_not_mix(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server, "one") as one, Comfy(server, "two") as two, Comfy(server, "three") as three:
        first, second = one.queue(graph_of(steps=10)), two.queue(graph_of(steps=12, seed=2))
        heard = {first: one.until_done(first), second: two.until_done(second)}
        while three.until("status")["status"]["exec_info"]["queue_remaining"]:
            pass
    for id, messages in heard.items():
        reported = [each for each in messages if not isinstance(each, bytes) and each["type"] != "status"]
        assert {each["data"]["prompt_id"] for each in reported} == {id}


def test_status_goes_to_all(server: RunningServer) -> None:
    server.backend.step_seconds = 0.05
    with Comfy(server, "watching") as watching, Comfy(server, "posting") as posting:
        id = posting.queue(graph_of(steps=20))
        seen = watching.until("status")
        while seen["status"]["exec_info"]["queue_remaining"] == 0:
            seen = watching.until("status")
        posting.until_done(id)
        while seen["status"]["exec_info"]["queue_remaining"] != 0:
            seen = watching.until("status")


def test_a_clients_prompts_are_reported_one_after_the_other(server: RunningServer) -> None:
    """They run side by side, and the short one ends first; its client expects them in turn."""
    server.backend.step_seconds = 0.05
    with Comfy(server) as comfy:
        long = comfy.queue(graph_of(steps=1000))
        short = comfy.queue(graph_of(steps=2, seed=2))
        wait_for(lambda: comfy.get(f"/history/{short}") != {})
        assert comfy.get(f"/history/{long}") == {}
        server.backend.step_seconds = 0.0
        messages = comfy.until_done(short)
    reported = [each for each in messages if not isinstance(each, bytes) and each["type"] != "status"]
    ids = [each["data"]["prompt_id"] for each in reported]
    assert ids == [long] * ids.count(long) + [short] * ids.count(short)
    assert kinds(messages) == LIFE * 2


def test_a_client_that_comes_back_learns_where_its_prompt_stands(server: RunningServer) -> None:
    server.backend.step_seconds = 0.05
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(steps=1000))
        comfy.until("progress")
        comfy.disconnect()
        assert comfy.connect()["data"]["status"]["exec_info"]["queue_remaining"] == 1
        assert comfy.until("executing") == {"node": "3", "display_node": "3", "prompt_id": id}
        server.backend.step_seconds = 0.0
        messages = comfy.until_done(id)
    assert [node for node in nodes(messages) if node != "3"] == ["8", "9", None]
    assert kinds(messages)[-3:] == ["executed", "execution_success", "executing"]


def test_a_client_that_was_away_at_the_end_learns_of_it_once(server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    with Comfy(server) as comfy, Comfy(server, "other") as other:
        id = comfy.queue(graph_of(steps=20))
        comfy.disconnect()
        wait_for(lambda: comfy.get(f"/history/{id}") != {})
        other.until_done(other.queue(graph_of()))  # by now, what happened before has been reported
        comfy.connect()
        assert kinds(comfy.until_done(id))[-3:] == ["executed", "execution_success", "executing"]
        comfy.disconnect()
        comfy.connect()
        second = comfy.queue(graph_of(seed=2))
        assert {each["data"]["prompt_id"] for each in comfy.until_done(second) if is_json(each)} == {second}


def is_json(message: Any) -> bool:
    return not isinstance(message, bytes) and message["type"] != "status"


def test_two_pages_of_one_client_both_get_the_messages(server: RunningServer) -> None:
    with Comfy(server) as one, Comfy(server) as other:
        id = one.queue(graph_of())
        assert kinds(one.until_done(id)) == kinds(other.until_done(id)) == LIFE


def test_without_a_client_id_the_server_draws_one(server: RunningServer) -> None:
    with Comfy(server, "") as one, Comfy(server, "", connect=False) as other:
        names = {other.connect()["data"]["sid"]}
        one.disconnect()
        names.add(one.connect()["data"]["sid"])
        assert len(names) == 2
        assert all(names)


def test_an_interrupted_prompt_says_at_which_node(server: RunningServer) -> None:
    server.backend.step_seconds = 0.05
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(steps=1000))
        comfy.until("progress")
        comfy.send("/interrupt", prompt_id=id)
        reported = comfy.until("execution_interrupted")
        assert (reported["prompt_id"], reported["node_id"], reported["node_type"]) == (id, "3", "KSampler")
        assert reported["executed"] == ["4", "6", "7", "5"]
        assert comfy.until("executing")["node"] is None


def test_a_failed_prompt_says_why(server: RunningServer) -> None:
    with Comfy(server) as comfy:
        id = comfy.queue(graph_of(prompt="fail"))
        messages = comfy.until_done(id)
        reported = next(each["data"] for each in messages if is_json(each) and each["type"] == "execution_error")
        assert (reported["node_id"], reported["node_type"], reported["exception_type"]) == (
            "3",
            "KSampler",
            "generation_failed",
        )
        assert "the prompt asked for a failure" in reported["exception_message"]
        item = comfy.history(id)
        assert (item["status"]["status_str"], item["status"]["completed"], item["outputs"]) == ("error", False, {})
        assert item["status"]["messages"][-1] == ["execution_error", reported]


def test_a_prompt_that_never_started_is_reported_as_interrupted(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(InstantBackend(capacity=1, step_seconds=0.05))
    with Comfy(server) as comfy, Comfy(server, "other") as other:
        running = other.queue(graph_of(steps=1000))
        wait_for(lambda: [job.state for job in all_jobs(server)] == ["running"])
        waiting = comfy.queue(graph_of(seed=2))
        comfy.send("/queue", delete=[waiting])
        reported = comfy.until("execution_interrupted")
        assert (reported["prompt_id"], reported["executed"]) == (waiting, [])
        assert comfy.get(f"/history/{waiting}") == {}
        other.send("/interrupt", prompt_id=running)


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"type": "feature_flags"}', '{"type": 1}', "[" * 5000])
def test_what_a_client_says_does_no_harm(server: RunningServer, text: str) -> None:
    with Comfy(server) as comfy:
        comfy.socket.send(text)
        comfy.socket.send_binary(b"\0\xff")
        assert kinds(comfy.until_done(comfy.queue(graph_of())))[-1] == "executing"


def test_too_long_a_client_id_is_refused(server: RunningServer) -> None:
    with pytest.raises(Exception, match="403"):
        Comfy(server, "x" * 201)
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": graph_of(), "client_id": "x" * 201})
    assert answer.status_code == 400
    assert "client_id" in answer.json()["error"]["details"]
