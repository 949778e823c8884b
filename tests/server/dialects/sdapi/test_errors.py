"""AUTOMATIC1111's clients get errors that they understand for what they cannot have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from server.dialects.native.examples import PICTURE
from tests.server.conftest import RunningServer


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"stepz": 1, "sampler": "x", "foo": 2}, ["stepz", "nearest: steps", "sampler_name", "foo"]),
        ({"steps": "many", "height": "tall"}, ["steps: 'many' is not allowed; expected a valid integer", "height"]),
        ({"width": 7}, ["width: 7 is not allowed"]),
    ],
)
def test_all_mistakes_are_said_at_once_as_they_were_sent(
    shared_client: httpx.Client, fields: dict[str, Any], said: list[str]
) -> None:
    response = shared_client.post("/sdapi/v1/txt2img", json={"width": 64, "height": 64, **fields})
    assert response.status_code == 422
    assert all(each in response.json()["errors"] for each in said), response.text


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"enable_hr": True, "hr_upscaler": "LDSR"}, 422, "hr_upscaler"),
        ({"refiner_checkpoint": "none such", "refiner_switch_at": 0.8}, 404, "refiner_checkpoint"),
        ({"styles": ["x"]}, 422, "styles"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, 422, "alwayson_scripts.ADetailer"),
        ({"override_settings": {"sd_vae": "x.pt"}}, 422, "override_settings.sd_vae"),
        ({"prompt": "(a:1..2)"}, 422, "prompt"),
        ({"width": 15}, 422, "width"),
        ({"steps": "many"}, 422, "steps"),
        ({"steps": 10**6}, None, "steps"),
        ({"unheard_of": 1}, 422, "unheard_of"),
        ({"batch_size": 65}, 422, "batch_size"),
        ({"override_settings": {"sd_model_checkpoint": "none such"}}, 404, "override_settings.sd_model_checkpoint"),
    ],
)
def test_what_cannot_be_had_is_refused_in_their_form(
    shared_client: httpx.Client, fields: dict[str, Any], status: int | None, named: str
) -> None:
    response = shared_client.post("/sdapi/v1/txt2img", json={"width": 64, "height": 64, **fields})
    assert response.status_code == status or (status is None and 400 <= response.status_code < 500)
    error = response.json()
    assert set(error) == {"error", "detail", "body", "errors"}
    assert named in error["errors"]
    if response.status_code == 422:
        assert error["detail"][0]["loc"] == ["body", named]
        assert error["detail"][0]["msg"] == error["errors"]
    else:
        assert error["detail"] == error["errors"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": "a" * 20_001}, ["prompt"]),
        ({"width": 2048, "height": 2056}, ["width"]),
        ({"steps": 2000, "denoising_strength": 1}, ["steps"]),
    ],
)
def test_what_is_wrong_with_a_picture_painted_anew_names_a_field_of_the_call(
    shared_client: httpx.Client, fields: dict[str, Any], named: list[str]
) -> None:
    body = {"width": 64, "height": 64, "init_images": [PICTURE], **fields}
    response = shared_client.post("/sdapi/v1/img2img", json=body)
    assert response.status_code == 422
    assert [each["loc"] for each in response.json()["detail"]] == [["body", field] for field in named]


@pytest.mark.parametrize("program", ["a1111", "comfyui"])
@pytest.mark.parametrize("missing", [["none such"], ["none such", "nor this"]])
def test_loras_that_are_not_there_are_left_out_or_refused(
    open_server: Callable[..., RunningServer], program: str, missing: list[str]
) -> None:
    """AUTOMATIC1111 leaves them out; ComfyUI has no picture without them."""
    prompt = " ".join(["a cat", *(f"<lora:{name}:1>" for name in missing)])
    body = {"width": 64, "height": 64, "steps": 1, "init_images": [PICTURE], "prompt": prompt}
    response = httpx.post(f"{open_server(sdapi_pictures=program).url}/sdapi/v1/img2img", json=body)
    if program == "a1111":
        assert response.status_code == 200, response.text
    else:
        assert response.status_code == 422
        assert [each["loc"] for each in response.json()["detail"]] == [["body", "prompt"]] * len(missing)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"prompt": 7}', b"\xff"])
def test_a_body_that_is_none(shared_client: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = shared_client.post("/sdapi/v1/txt2img", content=body, headers=headers)
    assert 400 <= response.status_code < 500
    assert set(response.json()) == {"error", "detail", "body", "errors"}


@pytest.mark.parametrize(
    "text",
    [
        '{"denoising_strength": NaN, "s_tmax": Infinity, "steps": 1, "width": 64}',
        '{"override_settings": {"jpeg_quality": NaN}, "steps": 1, "width": 64}',
        '{"comments": {"\\ud800": "\\udfff"}, "steps": 1, "width": 64}',
        '{"\\ud800": 1}',
        '{"prompt": "\\ud800"}',
        '{"styles": ["\\ud800"]}',
        '{"seed": 1e400}',
        '{"override_settings": {"\\ud800": "\\ud800"}}',
        '{"force_task_id": "\\u0000", "steps": 1, "width": 64}',
    ],
)
def test_what_json_cannot_hold_breaks_nothing(shared_client: httpx.Client, text: str) -> None:
    headers = {"content-type": "application/json"}
    response = shared_client.post("/sdapi/v1/txt2img", content=text, headers=headers)
    assert response.status_code < 500
    response.json()


@pytest.mark.parametrize("name", ["interrogate", "train/embedding"])
def test_what_is_not_here_says_so(shared_client: httpx.Client, name: str) -> None:
    response = shared_client.post(f"/sdapi/v1/{name}", json={"init_images": ["x"]})
    assert response.status_code == 400
    assert response.json()["detail"].startswith(f"{name} is not supported")


def test_other_paths_and_methods(shared_client: httpx.Client) -> None:
    assert shared_client.get("/sdapi/v1/none-such").status_code == 404
    assert shared_client.get("/sdapi/v1/txt2img").status_code == 405
    assert set(shared_client.get("/sdapi/v1/none-such").json()) == {"error", "detail", "body", "errors"}


def test_a_picture_that_fails(shared_client: httpx.Client) -> None:
    response = shared_client.post("/sdapi/v1/txt2img", json={"prompt": "fail", "width": 64, "height": 64})
    assert response.status_code == 500
    assert "failure" in response.json()["errors"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"prompt": ' + b"[" * 101 + b"]" * 101 + b"}", "nested more than 100 deep"),
        (b'{"prompt": [' + b"[]," * 300_000 + b"1]}", "more than 250000 values"),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 100 deep"),
        (b'{"prompt": "\xff"}', "utf-8"),
        (b'{"prompt": ', "Expecting value"),
    ],
)
@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/sdapi/v1/png-info", "/internal/progress"])
def test_a_body_that_is_not_read_is_refused_with_the_reason(
    shared_client: httpx.Client, path: str, body: bytes, said: str
) -> None:
    answer = shared_client.post(path, content=body)
    assert answer.status_code == 422
    assert said in answer.text
