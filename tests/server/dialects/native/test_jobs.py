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


def test_a_job_that_is_done_is_deleted_with_its_pictures(client: httpx.Client) -> None:
    kept, gone = (generate(client, seed=seed, count=2) for seed in (1, 5))
    answer = client.delete(f"/jobs/{gone['id']}").json()
    assert (answer["id"], answer["deleted"], answer["images"]) == (gone["id"], True, [])
    assert client.delete(f"/jobs/{gone['id']}").status_code == 404
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == [kept["id"]]
    assert [httpx.get(each["url"]).status_code for each in gone["images"] + kept["images"]] == [404, 404, 200, 200]


def test_one_picture_is_deleted_and_the_job_with_its_last(client: httpx.Client) -> None:
    job = generate(client, count=2)
    first, second = (each["url"].rpartition("/")[2] for each in job["images"])
    answer = client.delete(f"/jobs/{job['id']}/images/{first}").json()
    assert (answer["deleted"], [each["seed"] for each in answer["images"]]) == (False, [job["images"][1]["seed"]])
    assert client.get(f"/images/{first}").status_code == 404
    assert client.delete(f"/jobs/{job['id']}/images/{first}").status_code == 404
    assert client.delete(f"/jobs/{job['id']}/images/{second}").json()["deleted"] is True
    assert client.get(f"/jobs/{job['id']}").status_code == 404


def test_a_cancelled_job_keeps_what_is_done_where_that_is_asked_for(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=0.05, capacity=1), drain_seconds=0)
    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        job = generate(client, 202, count=9, steps=2, **{"async": True})
        wait_for(lambda: len(client.get(f"/jobs/{job['id']}").json()["images"]) >= 2)
        client.post(f"/jobs/{job['id']}/cancel", params={"keep": True})
        wait_for(lambda: client.get(f"/jobs/{job['id']}").json()["state"] == "succeeded")
        assert 2 <= len(client.get(f"/jobs/{job['id']}").json()["images"]) < 9


def test_jobs_are_found_by_words_and_by_the_time_of_their_acceptance(client: httpx.Client) -> None:
    boat = generate(client, prompt="a Red boat, 100% oak", sampler="heun")
    tree = generate(client, prompt="a red tree", model="other")

    def found(**query: Any) -> list[str]:
        return [job["id"] for job in client.get("/jobs", params=query).json()["jobs"]]

    assert found(query="RED") == [tree["id"], boat["id"]]
    assert found(query="red heun") == [boat["id"]]
    assert found(query="other") == [tree["id"]]
    assert found(query="0% oak") == [boat["id"]]
    assert found(query="a_red") == found(query="red house") == []
    assert found(created_from=tree["created"]) == [tree["id"]]
    assert found(created_before=tree["created"]) == [boat["id"]]
