"""Tests ComfyUI's ``/api/jobs``."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, wait_until_done
from tests.server.following import wait_for


@pytest.fixture
def narrow(open_server: Callable[..., RunningServer]) -> RunningServer:
    """Run a server that runs one prompt at a time, slowly."""
    return open_server(InstantBackend(capacity=1, step_seconds=0.05))


def test_jobs_in_all_their_states(narrow: RunningServer) -> None:
    comfy = Comfy(narrow, connect=False)
    narrow.backend.step_seconds = 0.0
    completed = comfy.queue(graph_of(), extra_data={"extra_pnginfo": {"workflow": {"id": "mine"}}})
    failed = comfy.queue(graph_of(prompt="fail"))
    wait_until_done(comfy, completed, failed)
    narrow.backend.step_seconds = 0.05
    in_progress = comfy.queue(graph_of(steps=1000))
    pending, cancelled = comfy.queue(graph_of()), comfy.queue(graph_of())
    wait_for(lambda: len(comfy.get("/queue")["queue_running"]) == 1)
    assert comfy.send(f"/api/jobs/{cancelled}/cancel") == {"cancelled": True}
    assert comfy.send(f"/api/jobs/{cancelled}/cancel") == {"cancelled": False}
    assert comfy.send("/api/jobs/unknown/cancel") == {"cancelled": False}
    by_status = {
        "completed": completed,
        "failed": failed,
        "in_progress": in_progress,
        "pending": pending,
        "cancelled": cancelled,
    }
    for status, id in by_status.items():
        assert [job["id"] for job in comfy.get("/api/jobs", status=status)["jobs"]] == [id]
        assert comfy.get(f"/api/jobs/{id}")["status"] == status
    every = comfy.get("/api/jobs")
    assert [job["id"] for job in every["jobs"]] == [cancelled, pending, in_progress, failed, completed]
    assert every["pagination"] == {"offset": 0, "limit": 200, "total": 5, "has_more": False}
    two = comfy.get("/api/jobs", status="completed, FAILED", sort_order="asc", limit=1)
    assert ([job["id"] for job in two["jobs"]], two["pagination"]["total"]) == ([completed], 2)
    assert two["pagination"]["has_more"] is True
    assert [job["id"] for job in comfy.get("/api/jobs", workflow_id="mine")["jobs"]] == [completed]
    assert comfy.get("/api/jobs", workflow_id="mine", offset=1)["jobs"] == []
    assert comfy.send("/api/jobs/cancel", job_ids=[in_progress, pending, "unknown"]) == {"cancelled": True}
    assert comfy.send("/api/jobs/cancel", job_ids=["unknown"]) == {"cancelled": False}


def test_a_job_in_full(comfy: Comfy) -> None:
    graph = graph_of(batch_size=2)
    id, failed = comfy.queue(graph), comfy.queue(graph_of(prompt="fail"))
    wait_until_done(comfy, id, failed)
    job = comfy.get(f"/api/jobs/{id}")
    assert job["outputs"] == comfy.history(id)["outputs"]
    assert job["execution_status"] == comfy.history(id)["status"]
    assert (job["workflow"]["prompt"], job["outputs_count"]) == (graph, 2)
    assert job["preview_output"] == job["outputs"]["9"]["images"][0] | {"nodeId": "9", "mediaType": "images"}
    assert job["create_time"] <= job["execution_start_time"] <= job["execution_end_time"]
    error = comfy.get(f"/api/jobs/{failed}")["execution_error"]
    assert (error["node_id"], error["exception_type"]) == ("3", "generation_failed")
    assert httpx.get(f"{comfy.url}/api/jobs/unknown").json() == {"error": "there is no job 'unknown'"}
    assert httpx.get(f"{comfy.url}/api/jobs/unknown").status_code == 404


def test_jobs_by_duration(server: RunningServer, comfy: Comfy) -> None:
    server.backend.step_seconds = 0.05
    short, long = comfy.queue(graph_of(steps=2)), comfy.queue(graph_of(steps=20))
    wait_until_done(comfy, short, long)
    for order, expected in (("asc", [short, long]), ("desc", [long, short])):
        answer = comfy.get("/api/jobs", sort_by="execution_duration", sort_order=order)
        assert [job["id"] for job in answer["jobs"]] == expected


def test_a_page_of_jobs_ends_where_it_grows_too_large(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.dialects.comfyui.jobs_routes.MOST_BYTES", 25_000)
    ids = [comfy.queue(graph_of(), extra_data={"note": "x" * 10_000}) for _ in range(3)]
    wait_until_done(comfy, *ids)
    first = comfy.get("/api/jobs", sort_order="asc")
    assert [job["id"] for job in first["jobs"]] == ids[:2]
    assert (first["pagination"]["has_more"], first["pagination"]["total"]) == (True, 3)
    second = comfy.get("/api/jobs", sort_order="asc", offset=2)
    assert ([job["id"] for job in second["jobs"]], second["pagination"]["has_more"]) == (ids[2:], False)


@pytest.mark.parametrize(
    "query",
    [{"status": "done"}, {"sort_by": "name"}, {"sort_order": "up"}, {"limit": "0"}, {"limit": "x"}, {"offset": "-1"}],
)
def test_a_bad_question_about_jobs(refusing: Comfy, query: dict[str, str]) -> None:
    answer = httpx.get(f"{refusing.url}/api/jobs", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["error"]["details"]
