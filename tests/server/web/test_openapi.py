"""The OpenAPI document is true: whatever Schemathesis makes of it, answers are as described and none is a defect, and
headers are described as they are checked."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engine.request import MAX_SEED
from server.app import create_app
from server.backends.instant import SHIPPED, InstantBackend
from server.dialects.native.answers import JobAnswer, ProblemAnswer
from server.dialects.native.examples import GENERATE, JOB, PROBLEM, WORKFLOW
from server.settings import DIALECTS, Settings
from tests.server.conftest import RunningServer, running, settings_in

SMALL: dict[str, Any] = {
    "backend": "instant",
    "max_pixels": 512 * 512,
    "max_pictures": 4,
    "max_steps": 100,
    "dialects": DIALECTS,
}
FAITHFUL = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server with all dialects and one job that is done."""
    with running(settings_in(tmp_path_factory.mktemp("small"), **SMALL), InstantBackend()) as server:
        httpx.post(f"{server.url}/api/v1/generate", json={"width": 64, "height": 64})
        yield server


@pytest.fixture(scope="module")
def exemplary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server with the files that come with this repository."""
    backend = InstantBackend(names=("starter", "AWPainting_v1.3"), more_files=SHIPPED)
    with running(settings_in(tmp_path_factory.mktemp("exemplary")), backend) as server:
        yield server


SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(**SMALL)).openapi())
OPERATIONS = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations()}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_described(label: str, mode: GenerationMode, small: RunningServer) -> None:
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def answered(case: schemathesis.Case) -> None:
        seen.add(case.call_and_validate(base_url=small.url, checks=FAITHFUL, timeout=60).status_code)

    seen: set[int] = set()

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a call that has no parameters
        answered()
    if label == "POST /api/v1/generate":
        assert (200 if mode == GenerationMode.POSITIVE else 400) in seen


HEADER_VALUES = {
    "Idempotency-Key": ["kkkkkkkk", "kkkk kkkk: 1", "k" * 255, "k" * 256, ""],
    "X-Job-Id": ["0kkkkkkk", "K.k_k:k-9kkkk", "k" * 128, "k" * 129, "-kkk", "kk kk", ""],
    "Last-Event-ID": ["0", "", "999999999999999999", "9" * 19, "-1", "x"],
    "Prefer": ["wait", "wait=1", "wait=60", "wait=0", "wait=61", "wait=x"],
}
"""Values on both sides of what each documented header may hold. Each k stands for a letter that each call draws."""

PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGPUiDrBQApgIk"
PICTURE += "n1qIZRDUNKAwAjuAFqLUgYkgAAAABJRU5ErkJggg=="
CALLS: dict[str, dict[str, Any]] = {
    "POST /api/v1/generate": {"json": {"width": 64, "height": 64}},
    "POST /api/v1/workflow": {
        "json": WORKFLOW["api"]["value"],
        "params": {"width": 64, "height": 64, "model": "instant"},
    },
    "POST /sdapi/v1/txt2img": {"json": {"prompt": "a boat", "width": 64, "height": 64, "steps": 1}},
    "POST /sdapi/v1/img2img": {
        "json": {"init_images": [PICTURE], "prompt": "a boat", "width": 64, "height": 64, "steps": 1}
    },
    "POST /v1/images/generations": {"json": {"prompt": "a boat", "size": "64x64"}},
    "POST /v1/images/edits": {"json": {"prompt": "a boat", "image": PICTURE}},
    "POST /v1/images/variations": {"json": {"image": PICTURE}},
    "POST /v1/predictions": {"json": {"version": "instant", "input": {"width": 64, "height": 64}}},
    "POST /v1/models/{owner}/{name}/predictions": {"json": {"input": {"width": 64, "height": 64}}},
    "POST /hf": {"json": {"inputs": "a boat", "parameters": {"width": 64, "height": 64}}},
    "POST /hf/models/{name}": {"json": {"inputs": "a boat", "parameters": {"width": 64, "height": 64}}},
    "GET /api/v1/jobs/{job_id}/events": {},
    "GET /v1/predictions/{id}/stream": {},
}
"""A call that succeeds, of each operation that documents a header."""


def test_each_documented_header_takes_what_the_document_says_and_nothing_else(small: RunningServer) -> None:
    job = httpx.post(f"{small.url}/v1/predictions", **CALLS["POST /v1/predictions"]).json()["id"]
    paths = {"owner": "local", "name": "instant", "job_id": job, "id": job}
    with_headers = set()
    for path, operations in create_app(Settings(**SMALL)).openapi()["paths"].items():
        for method, operation in operations.items():
            label = f"{method.upper()} {path}"
            for header in [each for each in operation.get("parameters", []) if each["in"] == "header"]:
                with_headers.add(label)
                validator = jsonschema_rs.Draft202012Validator(header["schema"])
                for value in HEADER_VALUES[header["name"]]:
                    url = small.url + path.format(**paths)
                    unique = "".join(secrets.choice(ascii_lowercase) if each == "k" else each for each in value)
                    answer = httpx.request(method, url, headers={header["name"]: unique}, timeout=60, **CALLS[label])
                    successes = {status for status in operation["responses"] if status.startswith("2")}
                    refused = {"422" if path.startswith("/sdapi/") else "400"}
                    expected = successes if validator.is_valid(value) else refused
                    assert str(answer.status_code) in expected, (label, header["name"], value, answer.text)
    assert with_headers == CALLS.keys()


def document(**values: Any) -> dict[str, Any]:
    return create_app(Settings(backend="instant", **values)).openapi()


def test_every_native_route_says_what_it_answers_and_how_it_refuses() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/api/v1/"):
                continue
            answers = operation["responses"]
            assert operation["tags"] == ["Native"], path
            assert "403" in answers, (method, path)
            assert "application/problem+json" in answers["403"]["content"]
            status, success = next(each for each in answers.items() if each[0].startswith("2"))
            assert status == "204" or success["content"], (method, path)


def examples() -> Iterator[tuple[str, str, Any]]:
    """Yield every example of a call's JSON body, with its path and its name."""
    for path, operations in document()["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            yield path, "example", content["example"]
        for name, example in content.get("examples", {}).items():
            yield path, name, example["value"]


@pytest.mark.parametrize(
    ("path", "body"), [pytest.param(path, body, id=f"{path} {name}") for path, name, body in examples()]
)
def test_every_example_of_a_call_succeeds(path: str, body: Any, exemplary: RunningServer) -> None:
    known = {"{owner}": "local", "{name}": "starter"}
    for name, value in known.items():
        path = path.replace(name, value)
    answer = httpx.post(exemplary.url + path, json=body, timeout=60)
    assert answer.is_success, answer.text


def test_the_examples_are_what_they_say(exemplary: RunningServer) -> None:
    JobAnswer.model_validate(JOB)
    ProblemAnswer.model_validate(PROBLEM)
    for example in GENERATE.values():
        answer = httpx.post(f"{exemplary.url}/api/v1/generate", json=example["value"])
        assert answer.status_code == (202 if example["value"].get("async") else 200)
        JobAnswer.model_validate(answer.json())


def test_the_body_of_generate_is_described_as_it_is_checked() -> None:
    body = document()["paths"]["/api/v1/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = body["properties"]
    assert properties["width"] | {"description": ""} == {
        "type": "integer",
        "minimum": 16,
        "maximum": 16384,
        "multipleOf": 8,
        "default": 512,
        "description": "",
    }
    assert properties["denoise"]["exclusiveMinimum"] == 0
    assert "dpmpp_2m" in properties["sampler"]["enum"]
    assert properties["count"]["maximum"] == 64
    validator = jsonschema_rs.Draft202012Validator(body)
    for right in ({}, {"seed": MAX_SEED}, {"seed": "18446744073709551615"}, {"seed": None}, {"model": None}):
        assert validator.is_valid(right), right
    for wrong in ({"promt": ""}, {"seed": MAX_SEED + 1}, {"width": 20}, {"cfg_scale": "8"}, {"prompt": None}, []):
        assert not validator.is_valid(wrong), wrong


def test_keys_and_the_public_url_are_described_where_there_are_any() -> None:
    assert "security" not in document()
    keyed = document(api_keys={"alice": "0" * 64}, public_url="https://pictures.example.org")
    assert {"bearer": []} in keyed["security"]
    assert keyed["paths"]["/api/v1/images/{name}"]["get"]["security"] == []
    assert "security" not in keyed["paths"]["/api/v1/generate"]["post"]
    assert keyed["servers"] == [{"url": "https://pictures.example.org"}]


def test_the_document_holds_nothing_that_is_never_answered() -> None:
    text = json.dumps(document())
    assert "HTTPValidationError" not in text
    assert "server__" not in text
