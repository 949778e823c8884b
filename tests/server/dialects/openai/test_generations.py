"""Drives OpenAI's dialect with OpenAI's own client over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from engine import GenerationRequest
from server.dialects.openai import DIALECT
from server.dialects.openai.body import schema
from server.dialects.openai.controls import READER, Controls
from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import client_of, picture
from tests.server.following import all_jobs, get, post, wait_for


def test_a_prompt_alone_gets_a_png_with_the_defaults_and_a_fresh_seed(server: RunningServer, client: OpenAI) -> None:
    first, second = client.images.generate(prompt="a bottle"), client.images.generate(prompt="a bottle")
    assert first.data is not None
    assert second.data is not None
    image = picture(first.data[0].b64_json)
    assert (image.format, image.size, first.size, first.output_format) == ("PNG", (512, 512), "512x512", "png")
    assert first.background == "opaque"
    assert first.usage is not None
    assert first.usage.total_tokens == 0
    seeds = [request.seed for job in all_jobs(server) for request in job.requests]
    assert len(set(seeds)) == 2
    assert server.backend.requests[0] == GenerationRequest(prompt="a bottle", model="instant", seed=seeds[0])
    assert first.data[0].seed == seeds[0]  # type: ignore[attr-defined]  # ours, beside OpenAI's fields


def test_every_parameter_goes_by_its_own_name(server: RunningServer, client: OpenAI) -> None:
    own = {
        "negative_prompt": "fog",
        "batch_size": 2,
        "steps": 3,
        "cfg_scale": 4.5,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "seed": 2**64 - 1,
        "denoise": 0.5,
        "clip_skip": 2,
    }
    answer = client.images.generate(prompt="a", model="other", size="64x128", n=2, extra_body=own)
    assert answer.data is not None
    assert len(answer.data) == 4
    expected = GenerationRequest(prompt="a", model="other", width=64, height=128, **own)  # type: ignore[arg-type]
    assert set(map(str, server.backend.requests)) == {str(expected), str(expected).replace(str(2**64 - 1), "0")}
    wide = client.images.generate(prompt="a", extra_body={"width": 96, "height": 64, "seed": "5"})
    assert (wide.size, server.backend.requests[-1].seed) == ("96x64", 5)


def test_a_whole_number_may_be_written_with_a_point(server: RunningServer) -> None:
    body = {"prompt": "a", "n": 2.0, "steps": 2.0, "seed": 5.0, "output_format": "webp", "output_compression": 40.0}
    assert len(post(f"{server.url}/v1/images/generations", json=body).json()["data"]) == 2
    assert {(request.steps, request.seed) for request in server.backend.requests} == {(2, 5), (2, 6)}
    for name, value in (("n", 2.5), ("steps", 2.5), ("seed", 2.0**64), ("partial_images", 0.5)):
        answer = post(f"{server.url}/v1/images/generations", json={**body, name: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_seed_repeats_the_picture_and_another_does_not(client: OpenAI) -> None:
    def made(seed: int, n: int = 1) -> list[str | None]:
        data = client.images.generate(prompt="a", n=n, extra_body={"seed": seed}).data
        return [each.b64_json for each in data or []]

    assert made(0, n=2) == made(0) + made(1)
    assert made(0) != made(1)


def test_url_needs_no_key_and_keeps_the_format(client: OpenAI) -> None:
    answer = client.images.generate(
        prompt="a", response_format="url", output_format="webp", output_compression=40, size="64x64"
    )
    assert answer.data is not None
    assert answer.data[0].b64_json is None
    assert answer.data[0].url is not None
    got = get(answer.data[0].url)
    assert got.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(got.content)).size == (64, 64)


@pytest.mark.parametrize(("format", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_output_formats(client: OpenAI, format: Any, name: str) -> None:
    answer = client.images.generate(prompt="a", output_format=format, size="64x64")
    assert answer.data is not None
    assert picture(answer.data[0].b64_json).format == name
    assert answer.output_format == format


def test_compression_is_the_quality() -> None:
    """The lowest quality gives fewer bytes than the highest, which is the default."""

    def settings(**body: Any) -> int | None:
        return READER.read(Controls, READER.find(body)).picture_quality

    assert [settings(output_format="jpeg", output_compression=each) for each in (0, 1, 60, None)] == [0, 1, 60, 100]
    assert settings(output_compression=100) is None


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_compression_0_is_the_least_there_is(client: OpenAI, format: Any) -> None:
    def made(how: Any) -> bytes:
        answer = client.images.generate(
            prompt="a",
            output_format=format,
            output_compression=0,
            size="64x64",
            response_format=how,
            extra_body={"seed": 5},
        )
        assert answer.data is not None
        one = answer.data[0]
        return base64.b64decode(one.b64_json) if one.b64_json else get(str(one.url)).content

    quantization = getattr(Image.open(io.BytesIO(made("b64_json"))), "quantization", None)
    assert quantization is None or {255} == set(quantization[0])
    assert made("url") == made("b64_json")


def test_null_is_not_given(server: RunningServer) -> None:
    body = dict.fromkeys((*schema("generation")["properties"],), None) | {"prompt": "a"}
    answer = post(f"{server.url}/v1/images/generations", json=body)
    assert answer.status_code == 200
    assert answer.json()["size"] == "512x512"


def test_what_has_no_effect_is_taken(client: OpenAI) -> None:
    taken = {"quality": "standard", "background": "opaque", "moderation": "low", "user": "me"}
    assert client.images.generate(prompt="a", extra_body={**taken, "safety_identifier": "x"}).data


def test_a_models_file_name_is_its_name_too(server: RunningServer, client: OpenAI) -> None:
    client.images.generate(prompt="a", model="other.safetensors")
    assert server.backend.requests[0].model == "other"


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["instant", "other"]
    assert client.models.retrieve("other").id == "other"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-image-1")
    assert caught.value.code == "model_not_found"


def test_an_idempotency_key_gives_the_same_pictures(server: RunningServer, client: OpenAI) -> None:
    header = {"Idempotency-Key": "k"}
    answers = [client.images.generate(prompt="a", n=2, extra_headers=header).data for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(all_jobs(server)) == 1
    with pytest.raises(openai.ConflictError) as caught:
        client.images.generate(prompt="b", extra_headers=header)
    assert caught.value.code == "idempotency_conflict"


def test_the_job_can_be_followed_and_cancelled_under_an_id_of_the_callers_choice(server: RunningServer) -> None:
    server.backend.step_seconds = 3600.0

    def cancel() -> None:
        wait_for(lambda: bool(server.backend.requests))
        assert get(f"{server.url}/api/v1/jobs/mine").json()["state"] == "running"
        post(f"{server.url}/api/v1/jobs/mine/cancel")

    other = threading.Thread(target=cancel)
    other.start()
    with client_of(server, max_retries=3) as client, pytest.raises(openai.ConflictError) as caught:
        client.images.generate(prompt="a", extra_headers={"X-Job-Id": "mine"})
    other.join()
    assert (caught.value.code, caught.value.response.headers["x-job-id"]) == ("cancelled", "mine")
    assert [job.id for job in all_jobs(server)] == ["mine"]


def test_the_answer_says_which_job_it_was(server: RunningServer, client: OpenAI) -> None:
    raw = client.images.with_raw_response.generate(prompt="a")
    assert raw.headers["x-job-id"] == all_jobs(server)[0].id
    assert get(raw.headers["location"]).json()["state"] == "succeeded"


@pytest.mark.anyio
async def test_the_async_client(server: RunningServer) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        answers = await asyncio.gather(
            *(client.images.generate(prompt="a", size="64x64", extra_body={"seed": seed}) for seed in range(8))
        )
        pictures = {answer.data[0].b64_json for answer in answers if answer.data}
        assert len(pictures) == 8
        stream = await client.images.generate(prompt="a", size="64x64", stream=True, extra_body={"seed": 3})
        events = [event async for event in stream]
        assert events[-1].b64_json in pictures
        assert [model.id async for model in client.models.list()] == ["instant", "other"]


@pytest.mark.parametrize("setting", [(), ("replicate",)])
def test_it_can_be_switched_off(open_server: Callable[..., RunningServer], setting: tuple[str, ...]) -> None:
    server = open_server(dialects=setting)
    assert post(f"{server.url}/v1/images/generations", json={"prompt": "a"}).status_code == 404


def test_whose_paths_they_are() -> None:
    ours = ["/v1/models", "/v1/models/a", "/v1/images/generations", "/v1/chat/completions"]
    others = ["/", "/v1", "/v1/models/a/b", "/v1/predictions", "/v1/predictions/x", "/v1x/models", "/hf"]
    assert all(map(DIALECT.owns, ours))
    assert not any(map(DIALECT.owns, others))


def test_on_the_real_engine(engine_server: RunningServer) -> None:
    with client_of(engine_server) as client:
        own = {"steps": 4, "seed": 5}
        *partials, whole = list(
            client.images.generate(prompt="a boat", size="64x64", stream=True, partial_images=2, extra_body=own)
        )
        plain = client.images.generate(prompt="a boat", size="64x64", extra_body=own).data
        assert plain is not None
        assert whole.b64_json == plain[0].b64_json
        assert partials
        assert all(picture(partial.b64_json).size == (64, 64) for partial in partials)
        assert json.loads(picture(whole.b64_json).info["prompt"])
        other = client.images.generate(prompt="a boat", size="64x64", model="other", extra_body=own).data
        assert other is not None
        assert other[0].b64_json != plain[0].b64_json
        assert [model.id for model in client.models.list()] == ["tiny", "other"]
