"""Tests ComfyUI's queue and history: reading them, stopping prompts, removing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from server.backends.instant import InstantBackend
from server.settings import Settings
from server.web.access import new_key
from tests.server.conftest import RunningServer, running
from tests.server.dialects.comfyui.client import Comfy, blocked, graph_of, wait_until_done
from tests.server.following import all_jobs, wait_for


@pytest.fixture
def narrow(open_server: Callable[..., RunningServer]) -> RunningServer:
    """Run a server that runs one prompt at a time, slowly."""
    return open_server(InstantBackend(capacity=1, step_seconds=0.05))


def test_a_full_queue_says_when_to_come_back(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(InstantBackend(capacity=1, step_seconds=0.05), max_queued=1)
    comfy, running_id = blocked(server)
    comfy.queue(graph_of())
    answer = comfy.post(graph_of())
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "queue_full")
    assert int(answer.headers["Retry-After"]) >= 1
    comfy.send("/interrupt", prompt_id=running_id)


def test_the_queue_in_its_order(narrow: RunningServer) -> None:
    comfy, first = blocked(narrow)
    plain = [comfy.queue(graph_of(seed=seed)) for seed in (1, 2)]
    front = comfy.post(graph_of(seed=3), front=True).json()
    early = comfy.post(graph_of(seed=4), number=1).json()
    late = comfy.post(graph_of(seed=5), number=1000.5).json()
    assert (front["number"] < 0, early["number"], late["number"]) == (True, 1, 1000.5)
    queue = comfy.get("/queue")
    assert [item[1] for item in queue["queue_running"]] == [first]
    expected = [front["prompt_id"], early["prompt_id"], *plain, late["prompt_id"]]
    assert [item[1] for item in queue["queue_pending"]] == expected
    assert queue["queue_pending"][0][2] == graph_of(seed=3)
    assert comfy.get("/prompt") == {"exec_info": {"queue_remaining": 6}}
    narrow.backend.step_seconds = 0.0
    comfy.send("/interrupt", prompt_id=first)
    wait_until_done(comfy, *expected)
    assert [request.seed for request in narrow.backend.requests] == [1, 3, 4, 1, 2, 5]


def test_prompts_can_be_taken_out_of_the_queue(narrow: RunningServer) -> None:
    comfy, first = blocked(narrow)
    ids = [comfy.queue(graph_of(seed=seed)) for seed in range(4)]
    assert comfy.send("/queue", delete=[ids[1], first, "unknown"]) == {}
    queue = comfy.get("/queue")
    assert [item[1] for item in queue["queue_pending"]] == [ids[0], ids[2], ids[3]]
    assert [item[1] for item in queue["queue_running"]] == [first]
    comfy.send("/queue", clear=True)
    queue = comfy.get("/queue")
    assert (len(queue["queue_running"]), queue["queue_pending"]) == (1, [])
    comfy.send("/interrupt")
    wait_until_done(comfy, first)
    assert list(comfy.get("/history")) == [first]


def test_interrupting_without_an_id_stops_the_prompt_that_has_run_for_longest(
    server: RunningServer, comfy: Comfy
) -> None:
    server.backend.step_seconds = 0.05
    ids = [comfy.queue(graph_of(steps=1000, seed=seed)) for seed in (1, 2, 3)]
    wait_for(lambda: len(comfy.get("/queue")["queue_running"]) == 3)
    comfy.send("/interrupt")
    comfy.send("/interrupt")
    wait_until_done(comfy, *ids[:2])
    assert [item[1] for item in comfy.get("/queue")["queue_running"]] == ids[2:]
    comfy.send("/interrupt")


@pytest.mark.parametrize("named", [True, False])
def test_interrupting(server: RunningServer, comfy: Comfy, named: bool) -> None:
    server.backend.step_seconds = 0.05
    ids = [comfy.queue(graph_of(steps=1000, seed=seed)) for seed in (1, 2)]
    wait_for(lambda: len(comfy.get("/queue")["queue_running"]) == 2)
    if named:
        comfy.send("/interrupt", prompt_id=ids[0])
        wait_until_done(comfy, ids[0])
        assert [item[1] for item in comfy.get("/queue")["queue_running"]] == [ids[1]]
    else:
        comfy.send("/interrupt")
    assert httpx.post(f"{server.url}/interrupt").status_code == 200  # with no body at all
    wait_until_done(comfy, *ids)
    for id in ids:
        status = comfy.history(id)["status"]
        assert (status["status_str"], status["completed"]) == ("error", False)
        assert status["messages"][-1][0] == "execution_interrupted"
        assert comfy.history(id)["outputs"] == {}


def test_interrupting_by_id_stops_a_prompt_that_waits(narrow: RunningServer) -> None:
    comfy, first = blocked(narrow)
    waiting = comfy.queue(graph_of())
    comfy.send("/interrupt", prompt_id=waiting)
    queue = comfy.get("/queue")
    assert (len(queue["queue_running"]), queue["queue_pending"]) == (1, [])
    comfy.send("/interrupt", prompt_id=first)


def test_other_dialects_jobs_are_left_alone(server: RunningServer, comfy: Comfy) -> None:
    asked = {"prompt": "a", "steps": 1000, "async": True}
    server.backend.step_seconds = 0.05
    id = httpx.post(f"{server.url}/api/v1/generate", json=asked).json()["job_id"]
    wait_for(lambda: all_jobs(server)[0].state == "running")
    for path, body in [("/interrupt", {}), ("/interrupt", {"prompt_id": id}), ("/queue", {"clear": True})]:
        comfy.send(path, **body)
    comfy.send("/history", clear=True)
    comfy.send("/api/jobs/cancel", job_ids=[id])
    assert comfy.send(f"/api/jobs/{id}/cancel") == {"cancelled": False}
    assert comfy.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert comfy.get("/api/jobs")["jobs"] == []
    assert all_jobs(server)[0].state == "running"
    assert not all_jobs(server)[0].cancel_requested
    server.backend.step_seconds = 0.0


def test_clearing_and_stopping_reach_the_callers_own_prompts(open_server: Callable[..., RunningServer]) -> None:
    keys = {name: new_key() for name in ("ann", "bob")}
    hashes = {name: digest for name, (_, digest) in keys.items()}
    server = open_server(InstantBackend(capacity=2, step_seconds=0.05), api_keys=hashes)

    def call(name: str, path: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {keys[name][0]}"}
        return httpx.post(server.url + path, json=body, headers=headers).raise_for_status().json()

    for name in ("ann", "bob"):
        call(name, "/prompt", {"prompt": graph_of(steps=1000)})
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["running"] * 2)
    for name in ("ann", "bob"):
        call(name, "/prompt", {"prompt": graph_of()})
    call("ann", "/queue", {"clear": True})
    call("ann", "/interrupt", {})
    wait_for(lambda: [job.state for job in all_jobs(server) if job.client == "ann"] == ["cancelled"] * 2)
    assert all(not job.cancel_requested and job.state != "cancelled" for job in all_jobs(server) if job.client == "bob")
    call("bob", "/queue", {"clear": True})
    call("bob", "/interrupt", {})
    assert httpx.get(f"{server.url}/queue").status_code == 401


def test_the_history_page_by_page(comfy: Comfy) -> None:
    ids = []
    for seed in range(5):
        ids.append(comfy.queue(graph_of(seed=seed)))
        wait_until_done(comfy, ids[-1])
    assert list(comfy.get("/history")) == ids
    assert list(comfy.get("/history", max_items=2)) == ids[3:]
    assert list(comfy.get("/history", max_items=2, offset=0)) == ids[:2]
    assert list(comfy.get("/history", offset=3)) == ids[3:]
    assert list(comfy.get("/history", max_items=9, offset=9)) == []
    assert list(comfy.get("/history", max_items=0)) == []
    for bad in ({"max_items": -1}, {"max_items": 10**30}, {"offset": -2}, {"max_items": "all"}):
        assert httpx.get(f"{comfy.url}/history", params=bad).status_code == 400


def test_a_large_history_is_cut_and_says_so(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.dialects.comfyui.queue_routes.MOST_BYTES", 25_000)
    ids = []
    for _ in range(3):
        ids.append(comfy.queue(graph_of(), extra_data={"note": "x" * 10_000}))
        wait_until_done(comfy, ids[-1])
    for query, expected in (({}, ids[1:]), ({"offset": 0}, ids[:2]), ({"offset": 2}, ids[2:])):
        answer = httpx.get(f"{comfy.url}/history", params=query)
        assert list(answer.json()) == expected
        assert answer.headers["X-Total-Count"] == "3"


def test_a_large_queue_lists_all_prompts_the_youngest_without_their_graphs(
    narrow: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dialects.comfyui.queue_routes.MOST_BYTES", 25_000)
    comfy, first = blocked(narrow)
    ids = [comfy.queue(graph_of(), extra_data={"note": "x" * 10_000}) for _ in range(4)]
    pending = comfy.get("/queue")["queue_pending"]
    assert [item[1] for item in pending] == ids
    assert [bool(item[2]) for item in pending] == [True, True, False, False]
    assert [("note" in item[3], "create_time" in item[3], item[4]) for item in pending] == [
        (True, True, ["9"]),
        (True, True, ["9"]),
        (False, True, ["9"]),
        (False, True, ["9"]),
    ]
    assert comfy.get(f"/api/jobs/{ids[3]}")["workflow"]["prompt"] == graph_of()
    comfy.send("/queue", clear=True)
    comfy.send("/interrupt", prompt_id=first)


def test_forgetting_takes_the_pictures_along(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [comfy.queue(graph_of(seed=seed)) for seed in range(3)]
    wait_until_done(comfy, *ids)
    pictures = [comfy.history(id)["outputs"]["9"]["images"][0] for id in ids]
    comfy.send("/history", delete=[ids[1], "unknown"])
    assert set(comfy.get("/history")) == {ids[0], ids[2]}
    found = [httpx.get(f"{comfy.url}/view", params=picture).status_code for picture in pictures]
    assert found == [200, 404, 200]
    comfy.send("/history", clear=True)
    assert comfy.get("/history") == {}
    monkeypatch.setattr("server.dialects.comfyui.queue_routes._FORGOTTEN_TOGETHER", 2)
    ids = [comfy.queue(graph_of(seed=seed)) for seed in range(5)]
    wait_until_done(comfy, *ids)
    comfy.send("/history", clear=True)
    assert comfy.get("/history") == {}


def test_a_prompt_that_is_not_done_is_not_in_the_history(narrow: RunningServer) -> None:
    comfy, first = blocked(narrow)
    waiting = comfy.queue(graph_of())
    assert comfy.get("/history") == comfy.get(f"/history/{waiting}") == comfy.get("/history/unknown") == {}
    comfy.send("/interrupt", prompt_id=first)


def test_the_history_outlives_the_server(settings: Settings) -> None:
    with running(settings, InstantBackend()) as server:
        comfy = Comfy(server, connect=False)
        id = comfy.queue(graph_of(), number=7.5)
        wait_until_done(comfy, id)
        before = comfy.history(id)
    with running(settings, InstantBackend()) as server:
        comfy = Comfy(server, connect=False)
        assert comfy.history(id) == before
        assert before["prompt"][0] == 7.5
        assert comfy.pictures(id)["9"][0].size == (64, 64)
