"""Follows a job's events over HTTP, from its acceptance to its end and after an interruption."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from tests.server.conftest import RunningServer
from tests.server.dialects.native.client import JSON, generate


def events(url: str, last: str | None = None) -> Iterator[tuple[int, str, JSON]]:
    """Yield the events of a stream as (id, kind, data), until the server ends it."""
    with httpx.stream("GET", url, headers={"Last-Event-ID": last} if last else {}, timeout=60) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        found: dict[str, str] = {}
        for line in stream.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                found[name] = value
            elif found:
                yield int(found["id"]), found["event"], json.loads(found["data"])
                found = {}


def test_events_tell_every_stage_of_a_job(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.1
    job = generate(client, 202, **{"async": True, "steps": 10})
    seen = list(events(job["events_url"] + "?previews=1"))
    numbers, kinds = [number for number, _, _ in seen], [kind for _, kind, _ in seen]
    assert numbers == sorted(set(numbers))
    assert kinds[-1] == "finished"
    assert kinds.count("finished") == 1
    assert {"started", "progress"} <= set(kinds)
    steps = [data["step"] for _, kind, data in seen if kind == "progress"]
    assert steps == sorted(steps)
    assert all(0 <= data["progress"] <= 1 for _, _, data in seen)
    assert seen[-1][2]["job"]["output_url"] == client.get(f"/jobs/{job['id']}").json()["output_url"]
    previews = [data["preview"] for _, kind, data in seen if kind == "preview"]
    assert previews
    assert Image.open(io.BytesIO(base64.b64decode(previews[0]))).format == "JPEG"
    assert "preview" not in {kind for _, kind, _ in events(job["events_url"])}


def test_events_go_on_after_the_last_one_that_was_seen(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    job = generate(client, 202, **{"async": True, "steps": 20})
    stream = events(job["events_url"])
    first = next(stream)
    while first[1] != "progress":
        first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    rest = list(events(job["events_url"], str(first[0])))
    assert all(number > first[0] for number, _, _ in rest)
    assert rest[-1][1] == "finished"
    assert httpx.get(job["events_url"], headers={"Last-Event-ID": str(rest[-1][0])}).status_code == 204
    assert [kind for _, kind, _ in events(job["events_url"])][-1] == "finished"


def test_each_picture_has_an_event_as_soon_as_it_is_there(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds, server.backend.capacity = 0.05, 1
    job = generate(client, 202, **{"async": True, "count": 3, "steps": 4, "batch_size": 2})
    shown = []
    for _, kind, data in events(job["events_url"]):
        if kind == "output":
            shown += data["images"]
            assert all(client.get(image["url"]).status_code == 200 for image in data["images"])
            if len(shown) == 2:
                assert (data["state"], data["progress"]) == ("running", pytest.approx(1 / 3, abs=0.2))
                assert client.get(f"/jobs/{job['id']}").json()["images"] == shown
                last = list(events(job["events_url"], "1"))
                assert [image for _, _, each in last for image in each.get("images", ())][:2] == shown
    assert client.get(f"/jobs/{job['id']}").json()["images"] == shown
    assert [(image["request"], image["index"]) for image in shown] == [(n, i) for n in range(3) for i in range(2)]


def test_events_of_no_job_or_after_no_event_are_refused(client: httpx.Client) -> None:
    assert client.get("/jobs/unknown/events").status_code == 404
    job = generate(client)
    answer = client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["field"]) == (400, "Last-Event-ID")
