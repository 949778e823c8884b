"""Jobs over HTTP are listed, have a place in the queue, and can be cancelled and waited for."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer
from tests.server.dialects.native.client import JSON, generate
from tests.server.following import all_jobs, wait_for


def test_jobs_are_listed_by_state_and_in_order(client: httpx.Client) -> None:
    ids = [generate(client, seed=seed)["id"] for seed in range(3)]
    client.post("/generate", json={"prompt": "fail"})
    listed = client.get("/jobs", params={"state": "succeeded"}).json()
    assert [job["id"] for job in listed["jobs"]] == ids[::-1]
    assert (listed["total"], listed["counts"]["succeeded"], listed["counts"]["failed"]) == (3, 3, 1)
    some = client.get("/jobs", params={"order": "oldest", "limit": 2, "offset": 1, "dialect": "native,openai"}).json()
    assert [job["id"] for job in some["jobs"]] == ids[1:]
    assert some["total"] == 4
    assert client.get("/jobs", params={"dialect": "openai"}).json()["jobs"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"state": "done"}, "state"), ({"limit": 0}, "limit"), ({"offset": -1}, "offset"), ({"order": "up"}, "order")],
)
def test_a_bad_filter_is_named(client: httpx.Client, query: JSON, field: str) -> None:
    answer = client.get("/jobs", params=query)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_queued_job_tells_its_place(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), drain_seconds=0)
    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        first = generate(client, 202, **{"async": True})
        wait_for(lambda: client.get(f"/jobs/{first['id']}").json()["state"] == "running")
        others = [generate(client, 202, **{"async": True}) for _ in range(3)]
        places = [client.get(f"/jobs/{job['id']}").json()["place"]["ahead"] for job in others]
        urgent = generate(client, 202, **{"async": True, "priority": 5})
        assert urgent["place"]["ahead"] < places[-1]
    assert places == sorted(places)
    assert places[-1] - places[0] == 2


@pytest.mark.parametrize("way", ["delete", "post"])
def test_a_job_is_cancelled_wherever_it_stands(open_server: Any, way: str) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), drain_seconds=0)

    def cancel(id: str) -> httpx.Response:
        url = f"{server.url}/api/v1/jobs/{id}"
        return httpx.delete(url) if way == "delete" else httpx.post(f"{url}/cancel")

    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        running, queued = (generate(client, 202, **{"async": True}) for _ in range(2))
        assert cancel(queued["id"]).json()["state"] == "cancelled"
        cancel(running["id"])
        wait_for(lambda: client.get(f"/jobs/{running['id']}").json()["state"] == "cancelled")
        assert cancel(running["id"]).json()["state"] == "cancelled"
        assert cancel("unknown").status_code == 404
    assert server.services.backend.status()["in_flight"] == 0


def test_a_caller_who_hangs_up_cancels_the_job_unless_it_has_a_key(server: RunningServer) -> None:
    server.backend.step_seconds = 0.1
    url = f"{server.url}/api/v1/generate"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json={}, timeout=0.5)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json={}, headers={"Idempotency-Key": "mine"}, timeout=0.5)
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled", "succeeded"])


def test_who_waits_for_a_job_that_another_cancels_gets_an_answer(server: RunningServer, client: httpx.Client) -> None:
    server.backend.step_seconds = 30
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/generate", json={})))
    thread.start()
    wait_for(lambda: len(all_jobs(server)) == 1)
    httpx.delete(f"{server.url}/api/v1/jobs/{all_jobs(server)[0].id}")
    thread.join(60)
    assert (answers[0].status_code, answers[0].json()["kind"]) == (409, "cancelled")


def test_the_caller_may_choose_the_jobs_id(client: httpx.Client) -> None:
    answer = client.post("/generate", json={}, headers={"X-Job-Id": "mine-1"})
    assert answer.json()["id"] == "mine-1"
    assert client.post("/generate", json={}, headers={"X-Job-Id": "mine-1"}).status_code == 409
    assert client.post("/generate", json={}, headers={"X-Job-Id": "no/path"}).status_code == 400
