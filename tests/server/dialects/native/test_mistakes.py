"""All that is wrong with a call is named at once: each parameter with its value and what is allowed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from engine.formats.comfyui import api_workflow
from engine.request import GenerationRequest
from tests.server.dialects.native.test_pictures_in import file

WRONG: dict[str, Any] = {
    "steps": 0,
    "sampler": "dpm",
    "loras": [{"name": "ink", "strength": 999}, {"strength": 1}],
    "count": 0,
    "width": 60,
}
FIELDS = ["steps", "sampler", "loras[0].strength", "loras[1].name", "count", "width"]


def errors_of(answer: httpx.Response) -> dict[str, Any]:
    """The list of errors by field, of an answer that is well formed."""
    body = answer.json()
    assert answer.status_code == body["status"] == 400, answer.text
    errors = {each["field"]: each for each in body["errors"]}
    assert len(errors) == len(body["errors"]) > 0
    assert body["field"] == body["errors"][0]["field"]
    for field, each in errors.items():
        assert each["detail"].startswith(f"{field}: ")
        assert each["detail"] in body["detail"]
        assert each["allowed"]
    return errors


def test_json_a_form_and_a_query_name_all_their_mistakes(client: httpx.Client) -> None:
    whole = errors_of(client.post("/generate", json=WRONG))
    assert set(whole) == set(FIELDS)
    assert (whole["steps"]["value"], whole["steps"]["allowed"]) == (0, "a whole number from 1 to 10000")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in WRONG.items()}
    form = errors_of(client.post("/generate", data=texts, files={"image": file()}))
    assert set(form) == set(FIELDS)
    assert {name: each["value"] for name, each in form.items()} == {name: each["value"] for name, each in whole.items()}
    graph = api_workflow(GenerationRequest(seed=1), checkpoint_file="instant.safetensors")
    query = client.post("/workflow", params={"steps": "0", "width": "sixty", "count": "0"}, json=graph)
    assert set(errors_of(query)) == {"steps", "width", "count"}
    assert errors_of(query)["width"]["value"] == "sixty"


def test_unknown_names_and_broken_pictures_are_named_beside_wrong_values(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"stps": 3, "size": 5, "steps": 0})
    assert set(errors_of(answer)) == {"stps", "size", "steps"}
    assert answer.json()["kind"] == "unknown_parameter"
    body = {"image": "bm9uZQ==", "mask": 5, "controls": [{"model": "edges", "image": "bm9uZQ=="}], "steps": 0}
    assert set(errors_of(client.post("/generate", json=body))) == {"image", "mask", "controls[0].image", "steps"}


@pytest.mark.parametrize("value", ["x" * 100_000, 2**80, [0] * 1000, {"a": {"b": [1]}}])
def test_a_value_that_is_long_or_no_scalar_is_shortened_text(client: httpx.Client, value: Any) -> None:
    (error,) = errors_of(client.post("/generate", json={"steps": value})).values()
    assert isinstance(error["value"], str)
    assert len(error["value"]) <= 200


def test_halves_of_surrogate_pairs_are_escaped(client: httpx.Client) -> None:
    answer = client.post("/generate", content=b'{"sampler": "\\ud800", "\\ud800": 1}')
    assert "\\ud800" in errors_of(answer)["sampler"]["value"]


def test_other_problems_have_no_list(client: httpx.Client) -> None:
    assert client.get("/jobs/none").json()["errors"] == []
