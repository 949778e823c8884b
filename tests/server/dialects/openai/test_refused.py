"""OpenAI's dialect words refusals and failures as OpenAI's own client understands them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import OpenAI

from server.dialects.openai import DIALECT
from server.problems import Problem
from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import client_of
from tests.server.following import all_jobs, post, wait_for

REFUSED = {
    "prompt": {"prompt": None},
    "n": {"n": 11},
    "size": {"size": "512"},
    "width": {"size": "512x512", "width": 64},
    "quality": {"quality": "max"},
    "style": {"style": "vivid"},
    "response_format": {"response_format": "hex"},
    "output_format": {"output_format": "gif"},
    "output_compression": {"output_compression": 50},
    "background": {"background": "transparent"},
    "moderation": {"moderation": "none"},
    "stream": {"stream": "yes"},
    "partial_images": {"partial_images": 1},
    "user": {"user": "\ud800"},
    "steps": {"steps": 20, "quality": "high"},
    "mask": {"mask": "data:image/png;base64,AA"},
    "input_fidelity": {"input_fidelity": "high"},
    "frame_count": {"frame_count": 4},
    "image": {"image": "https://example.org/a.png"},
    "Seed": {"Seed": 5},
}


@pytest.mark.parametrize(("field", "body"), REFUSED.items(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_by_name(server: RunningServer, field: str, body: dict[str, Any]) -> None:
    answer = post(f"{server.url}/v1/images/generations", content=json.dumps({"prompt": "a", **body}))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["type"]) == (field, "invalid_request_error")
    assert field in error["message"]
    assert all_jobs(server) == []


@pytest.mark.parametrize(
    ("field", "extra"),
    [("n", {"n": 2}), ("batch_size", {"batch_size": 2}), ("response_format", {"response_format": "url"})],
)
def test_a_stream_is_of_one_picture(client: OpenAI, field: str, extra: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{field}: .*stream"):
        client.images.generate(prompt="a", stream=True, extra_body=extra)


def test_a_size_is_refused_under_its_own_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a", size="500x512")
    assert caught.value.param == "size"
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a", size="16384x16384")  # a limit of the server
    assert (caught.value.param, caught.value.code) == ("size", "too_large")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '"a"', "null", "[" * 100_000, '{"prompt": "\ud800"}', '{"\\ud800": 1}']
)
def test_bodies_that_are_no_request(server: RunningServer, body: str) -> None:
    answer = post(f"{server.url}/v1/images/generations", content=body.encode("utf-8", "surrogatepass"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_an_unknown_model_is_refused_with_those_that_are_there(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(prompt="a", model="dall-e-3")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "instant, other" in caught.value.message


def test_other_calls_are_refused_in_openais_words(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.type == "invalid_request_error"


def test_a_failure_is_a_server_error_that_is_not_tried_again(server: RunningServer) -> None:
    with client_of(server, max_retries=3) as client, pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(prompt="fail")
    assert (caught.value.code, caught.value.type) == ("generation_failed", "server_error")
    assert len(all_jobs(server)) == 1


def test_a_wrong_key(open_server: Callable[..., RunningServer]) -> None:
    import hashlib

    server = open_server(api_keys={"me": hashlib.sha256(b"right").hexdigest()})
    with client_of(server, api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    with client_of(server, api_key="right") as client:
        assert client.images.generate(prompt="a").data


def test_a_full_queue_is_tried_again_when_it_says(
    open_server: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = open_server(max_queued=1)
    server.backend.step_seconds = 3600.0
    keep_busy = {"prompt": "a", "async": True}
    while post(f"{server.url}/api/v1/generate", json=keep_busy).status_code == 202:
        wait_for(lambda: bool(server.backend.requests))
    with client_of(server) as client, pytest.raises(openai.RateLimitError) as caught:
        client.images.generate(prompt="b")
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    seconds = float(caught.value.response.headers["retry-after"])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        server.backend.step_seconds = 0.0
        for job in all_jobs(server):
            post(f"{server.url}/api/v1/jobs/{job.id}/cancel")

    with client_of(server, max_retries=1) as client, monkeypatch.context() as patched:
        patched.setattr(client, "_sleep_for_retry", _sleeping(client, sleep))
        assert client.images.generate(prompt="b").data
    assert slept == [seconds]


def _sleeping(client: OpenAI, sleep: Callable[[float], None]) -> Callable[..., None]:
    """Return the client's own calculation of how long to sleep, with another way to sleep."""

    def instead(*, retries_taken: int, max_retries: int, options: Any, response: Any) -> None:
        sleep(client._calculate_retry_timeout(max_retries - retries_taken, options, response.headers))

    return instead


def test_only_what_may_go_better_is_tried_again() -> None:
    def code_of(status: int) -> str:
        problem = Problem(status=status, kind="k", title="t", detail="d")
        return DIALECT.error_response(problem).headers["x-should-retry"]

    assert {status: code_of(status) for status in (400, 409, 429, 500, 503, 507)} == {
        **dict.fromkeys((400, 409, 500, 507), "false"),
        **dict.fromkeys((429, 503), "true"),
    }
