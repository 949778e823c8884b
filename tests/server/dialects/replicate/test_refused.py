"""Replicate's dialect words refusals as Replicate's own client understands them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from server.dialects.replicate.predictions import read_preference
from tests.server.conftest import RunningServer
from tests.server.dialects.replicate.client import OpenClient
from tests.server.following import get, post


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-2-3", "-1-2", "1-2\n", "9" * 13 + "-1"])
def test_a_cursor_is_what_stood_in_next(server: RunningServer, cursor: str) -> None:
    answer = get(f"{server.url}/v1/predictions", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (400, "cursor")


REFUSED: dict[str, dict[str, Any]] = {
    "version": {"version": None},
    "input": {"input": None},
    "webhook": {"webhook": "ftp://example.org"},
    "webhook_completed": {"webhook_completed": "http://e.org", "webhook": "http://e.org"},
    "webhook_events_filter[0]": {"webhook": "http://e.org", "webhook_events_filter": ["finished"]},
    "stream": {"stream": 1},
    "else": {"else": 1},
}


REFUSED_INPUT: dict[str, dict[str, Any]] = {
    "prompt_strength": {"prompt_strength": 0.5},
    "image": {"image": "data:image/png;base64,"},
    "width": {"width": 500},
    "num_inference_steps": {"num_inference_steps": 0},
    "num_outputs": {"num_outputs": 11},
    "guidance_scale": {"guidance_scale": -1},
    "cfg_scale": {"guidance_scale": 7, "cfg_scale": 7},
    "steps": {"num_inference_steps": 7, "steps": 7},
    "scheduler": {"scheduler": "PNDM"},
    "sampler": {"scheduler": "K_EULER", "sampler": "euler"},
    "seed": {"seed": 0.5},
    "model": {"model": "other"},
    "output_format": {"output_format": "gif"},
    "output_quality": {"output_quality": 50},
}


@pytest.mark.parametrize(("field", "more"), REFUSED.items(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_by_name(server: RunningServer, field: str, more: dict[str, Any]) -> None:
    body = {"version": "instant", "input": {"prompt": "a"}, **more}
    answer = post(f"{server.url}/v1/predictions", json=body)
    problem = answer.json()
    assert answer.status_code == problem["status"] == 400
    assert problem["invalid_fields"][0]["field"] == field
    assert field in problem["detail"]


@pytest.mark.parametrize(("field", "given"), REFUSED_INPUT.items(), ids=REFUSED_INPUT)
def test_what_an_input_may_not_hold_is_refused_by_name(client: Client, field: str, given: dict[str, Any]) -> None:
    with pytest.raises(ReplicateError, match=rf"input\.{field}:") as caught:
        client.predictions.create(version="instant", input={"prompt": "a", **given})
    assert caught.value.status == 400


def test_a_limit_of_the_server_is_named_in_the_callers_words(client: Client) -> None:
    with pytest.raises(ReplicateError, match=r"input\.num_inference_steps: 9999 "):
        client.predictions.create(version="instant", input={"prompt": "a", "num_inference_steps": 9999})


@pytest.mark.parametrize("header", ["wait=0", "wait=61", "wait=-1", "wait=x", "wait="])
def test_prefer_is_refused_beyond_its_range(header: str) -> None:
    with pytest.raises(Exception, match="Prefer"):
        read_preference(header)


def test_a_webhook_into_the_own_network_is_refused_under_its_name(
    open_server: Callable[..., RunningServer], open_client: OpenClient
) -> None:
    client = open_client(open_server(webhook_private_addresses=False))
    for name in ("webhook", "webhook_completed"):
        with pytest.raises(ReplicateError, match=f"detail: {name}: "):
            client.predictions.create(version="instant", input={}, **{name: "http://localhost/"})


def test_a_wrong_key(open_server: Callable[..., RunningServer], open_client: OpenClient) -> None:
    import hashlib

    server = open_server(api_keys={"me": hashlib.sha256(b"right").hexdigest()})
    with pytest.raises(ReplicateError) as caught:
        open_client(server, token="wrong").accounts.current()
    assert (caught.value.status, caught.value.title) == (401, "Unauthenticated")
    assert open_client(server, token="right").accounts.current().username == "me"
