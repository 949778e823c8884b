"""The native API's refusals and failures name the parameter, its value and what is allowed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from engine.request import MAX_SEED
from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer
from tests.server.dialects.native.client import generate
from tests.server.following import all_jobs


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"steps": 0}, "steps", "1 to 10000"),
        ({"steps": "20"}, "steps", "1 to 10000"),
        ({"steps": True}, "steps", "1 to 10000"),
        ({"width": 100}, "width", "multiple of 8"),
        ({"cfg_scale": None}, "cfg_scale", "0 to 100"),
        ({"sampler": "dpmpp_2"}, "sampler", "dpmpp_2m"),
        ({"seed": 2**64}, "seed", str(MAX_SEED)),
        ({"seed": "abc"}, "seed", str(MAX_SEED)),
        ({"seed": 1.5}, "seed", str(MAX_SEED)),
        ({"seed": 2.0**53}, "seed", "all its digits"),
        ({"seed": 1e300}, "seed", "all its digits"),
        ({"steps": 2.5}, "steps", "1 to 10000"),
        ({"steps": 1e300}, "steps", "1 to 10000"),
        ({"count": 2.5}, "count", "1 to 64"),
        ({"prompt": 5}, "prompt", "text"),
        ({"prompt": "\ud800"}, "prompt", "surrogate"),
        ({"promt": "a boat"}, "promt", "nearest: prompt"),
        ({"CFG": 7}, "CFG", "only known parameters"),
        ({"\ud800": 1}, "\\ud800", "only known parameters"),
        ({"x" * 10**6: 1}, "x" * 80, "only known parameters"),
        ({"prompt": "x" * 20_001}, "prompt", "at most 20000"),
        ({"negative_prompt": "x" * 20_001}, "negative_prompt", "at most 20000"),
        ({"count": 0}, "count", "1 to 64"),
        ({"count": 65}, "count", "1 to 64"),
        ({"count": 2, "batch_size": 33}, "batch_size", "64 pictures"),
        ({"response_format": "jpeg"}, "response_format", "base64"),
        ({"async": "yes"}, "async", "true or false"),
        ({"async": True, "response_format": "base64"}, "response_format", "url or path"),
        ({"priority": 11}, "priority", "-10 to 10"),
        ({"webhook_url": "ftp://example.org"}, "webhook_url", "https"),
        ({"webhook_url": 5}, "webhook_url", "https"),
        ({"webhook_events": ["finished"]}, "webhook_events", "webhook_url"),
        ({"webhook_url": "https://example.org", "webhook_events": ["ended"]}, "webhook_events[0]", "finished"),
        ({"webhook_url": "https://example.org", "webhook_events": "finished"}, "webhook_events", "list"),
        ({"idempotency_key": ""}, "idempotency_key", "255"),
        ({"width": 4096, "height": 4096}, "width", "4194304"),
        ({"steps": 1001}, "steps", "1000"),
        ([], "body", "JSON object"),
        ("text", "body", "JSON object"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_value_and_what_is(
    client: httpx.Client, server: RunningServer, body: Any, field: str, reason: str
) -> None:
    answer = client.post("/generate", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert problem["status"] == 400
    assert all_jobs(server) == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"steps": ' + b"9" * 5000 + b"}", b"\x00"])
def test_a_body_that_is_no_json_is_a_bad_request(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/generate", content=body)
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"stepz": 3, "promt": "x", "foo": 1}, ["stepz", "steps", "promt", "prompt", "foo"]),
        ({"hires": {"scal": 2, "methd": "x"}}, ["hires.scal", "hires.methd"]),
        ({"loras": [{"name": "x", "strenght": 1, "weight": 2}]}, ["loras[0].strenght", "loras[0].weight"]),
    ],
)
def test_all_unknown_names_are_said_at_once(client: httpx.Client, body: dict[str, Any], named: list[str]) -> None:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 400
    assert all(name in answer.json()["detail"] for name in named)
    assert answer.json()["field"] == named[0]


def test_a_model_is_a_name_and_never_a_path(client: httpx.Client) -> None:
    for name in ("nowhere", "/etc/passwd", "../models/instant.safetensors", "instant.safetensors/", ""):
        problem = generate(client, 400 if name == "" else 404, model=name)
        assert problem["field"] == "model"
    assert generate(client, model="other.safetensors")["model"] == "other"


def test_a_failure_is_answered_to_the_caller_who_waits_and_kept(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"prompt": "fail"})
    assert (answer.status_code, answer.json()["kind"]) == (500, "generation_failed")
    job = client.get(f"/jobs/{answer.headers['x-job-id']}").json()
    assert job["state"] == "failed"
    assert job["error"]["detail"] == answer.json()["detail"]


def test_a_full_queue_says_when_to_come_back(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), max_queued=1, drain_seconds=0)
    url = f"{server.url}/api/v1/generate"
    answers = [httpx.post(url, json={"async": True}) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.status_code for answer in answers} == {202, 429}
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json()["kind"] == "queue_full"
