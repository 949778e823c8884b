"""Hugging Face's dialect, driven by Hugging Face's own client over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from PIL import Image

from engine import GenerationRequest
from server.dialects.huggingface import DIALECT
from server.dialects.huggingface.inference import accepted_format
from server.problems import Problem
from tests.server.conftest import RunningServer
from tests.server.following import all_jobs, get, hang_up_on, post, wait_for


def test_a_prompt_alone_gets_a_png_with_the_defaults_and_a_fresh_seed(
    server: RunningServer, client: InferenceClient
) -> None:
    images = [client.text_to_image("a bottle") for _ in range(2)]
    assert [(image.format, image.size) for image in images] == [("PNG", (512, 512))] * 2
    first, second = (job.requests[0] for job in all_jobs(server))
    assert first.seed != second.seed
    assert first == GenerationRequest(prompt="a bottle", model="instant", seed=first.seed)


def test_every_parameter_of_the_client(server: RunningServer) -> None:
    client = InferenceClient(base_url=f"{server.url}/hf/models/other")
    image = client.text_to_image(
        "a",
        negative_prompt="fog",
        height=64,
        width=128,
        num_inference_steps=3,
        guidance_scale=4.5,
        scheduler="EulerAncestralDiscreteScheduler",
        seed=0,
        extra_body={"clip_skip": 2},
    )
    assert image.size == (128, 64)
    assert server.backend.requests == [
        GenerationRequest(
            prompt="a",
            negative_prompt="fog",
            height=64,
            width=128,
            steps=3,
            cfg_scale=4.5,
            sampler="euler_ancestral",
            scheduler="normal",
            seed=0,
            clip_skip=2,
            model="other",
        )
    ]


def test_a_whole_number_may_be_written_with_a_point(server: RunningServer) -> None:
    named = {"num_inference_steps": 2.0, "width": 64.0, "seed": 5.0}
    assert ask(server, {"inputs": "a", "parameters": named}).headers["x-seed"] == "5"
    assert (server.backend.requests[0].steps, server.backend.requests[0].width) == (2, 64)
    for name, value in (("num_inference_steps", 2.5), ("seed", 2.0**60)):
        answer = ask(server, {"inputs": "a", "parameters": {**named, name: value}})
        assert (answer.status_code, f"parameters.{name}: " in answer.json()["error"]) == (400, True)


def test_a_slash_at_the_end_makes_no_difference(server: RunningServer) -> None:
    image = InferenceClient(model=f"{server.url}/hf/").text_to_image("a", width=64, height=64)
    assert image.size == (64, 64)
    assert "/hf/" not in get(f"{server.url}/openapi.json").json()["paths"]


def test_a_seed_repeats_the_picture_and_another_does_not(client: InferenceClient) -> None:
    def made(seed: int) -> bytes:
        return client.text_to_image("a", seed=seed, width=64, height=64).tobytes()

    assert made(5) == made(5)
    assert made(5) != made(6)


def test_the_model_can_be_named_in_the_parameters(server: RunningServer, client: InferenceClient) -> None:
    client.text_to_image("a", extra_body={"model": "other"})
    assert server.backend.requests[0].model == "other"


def ask(server: RunningServer, body: Any, path: str = "/hf", **headers: str) -> httpx.Response:
    return post(server.url + path, json=body, headers=headers)


@pytest.mark.parametrize(("accept", "format"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")])
def test_the_format_is_what_the_caller_accepts(server: RunningServer, accept: str, format: str) -> None:
    answer = ask(server, {"inputs": "a", "parameters": {"seed": 7}}, accept=accept)
    assert answer.headers["content-type"] == accept
    assert Image.open(io.BytesIO(answer.content)).format == format
    assert answer.headers["x-seed"] == "7"
    assert answer.headers["x-job-id"] == all_jobs(server)[0].id
    assert get(answer.headers["location"]).json()["state"] == "succeeded"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/webp,image/*;q=0.8", "webp"),
        ("image/png;q=0.1, image/jpeg;q=0.2", "jpeg"),
        ("image/jpg", "jpeg"),
        ("text/html, */*;q=0.1", "png"),
        ("image/png;q=0, image/*", "jpeg"),
        ("IMAGE/WEBP", "webp"),
    ],
)
def test_accept(accept: str, format: str) -> None:
    assert accepted_format(accept) == format


@pytest.mark.parametrize(
    "accept", ["application/json", "image/avif", "image/png;q=0", "image/png;q=x", "image/png;q=nan", ",;q"]
)
def test_what_cannot_be_given_is_not_acceptable(accept: str) -> None:
    with pytest.raises(Problem, match="image/png, image/jpeg, image/webp") as caught:
        accepted_format(accept)
    assert caught.value.status == 406


def test_not_acceptable_before_any_work_is_done(server: RunningServer) -> None:
    answer = ask(server, {"inputs": "a"}, accept="text/html")
    assert answer.status_code == 406
    assert "Accept" in answer.json()["error"]
    assert all_jobs(server) == []


REFUSED: dict[str, dict[str, Any]] = {
    "inputs": {"inputs": None},
    "parameters": {"parameters": []},
    "else": {"else": 1},
    "options.use_gpu": {"options": {"use_gpu": True}},
    "options.use_cache": {"options": {"use_cache": "yes"}},
    "parameters.strength": {"parameters": {"strength": 0.5}},
    "parameters.image": {"inputs": "iVBORw0KGgo", "parameters": {"image": "AAAA"}},
    "parameters.target_size": {"parameters": {"target_size": {"width": 64}}},
    "parameters.lora_scale": {"parameters": {"lora_scale": 0.5}},
    "parameters.width": {"parameters": {"width": 500}},
    "parameters.batch_size": {"parameters": {"batch_size": 2}},
    "parameters.num_inference_steps": {"parameters": {"num_inference_steps": 0}},
    "parameters.guidance_scale": {"parameters": {"guidance_scale": "8"}},
    "parameters.scheduler": {"parameters": {"scheduler": "PNDMScheduler"}},
    "parameters.sampler": {"parameters": {"scheduler": "DDIMScheduler", "sampler": "ddim"}},
    "parameters.steps": {"parameters": {"num_inference_steps": 3, "steps": 3}},
}


@pytest.mark.parametrize(("field", "more"), REFUSED.items(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_by_name(server: RunningServer, field: str, more: dict[str, Any]) -> None:
    answer = ask(server, {"inputs": "a", **more})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{field}: ")


def test_the_client_raises_the_servers_message(client: InferenceClient) -> None:
    with pytest.raises(BadRequestError, match=r"parameters\.scheduler: 'PNDMScheduler' .* EulerDiscreteScheduler"):
        client.text_to_image("a", scheduler="PNDMScheduler")
    with pytest.raises(HfHubHTTPError, match="the prompt asked for a failure") as caught:
        client.text_to_image("fail")
    assert caught.value.response.status_code == 500


@pytest.mark.parametrize("name", ["else", "runwayml/stable-diffusion-v1-5", "%00"])
def test_an_unknown_model_is_refused_with_those_that_are_there(server: RunningServer, name: str) -> None:
    answer = ask(server, {"inputs": "a"}, f"/hf/models/{name}")
    assert answer.status_code == 404
    assert "instant, other" in answer.json()["error"]


def test_two_models_are_one_too_many(server: RunningServer) -> None:
    answer = ask(server, {"inputs": "a", "parameters": {"model": "other"}}, "/hf/models/instant")
    assert answer.json()["error"].startswith("parameters.model: ")


def test_older_clients_options(server: RunningServer) -> None:
    body = {"inputs": "a", "options": {"use_cache": False, "wait_for_model": True}}
    assert ask(server, body).status_code == 200


def test_a_guidance_of_up_to_one_is_none_as_in_diffusers(server: RunningServer, client: InferenceClient) -> None:
    for scale in (0, 0.5, 1, 1.5):
        client.text_to_image("a", guidance_scale=scale)
    client.text_to_image("a", extra_body={"cfg_scale": 0.5})
    assert [request.cfg_scale for request in server.backend.requests] == [1.0, 1.0, 1.0, 1.5, 0.5]


def test_a_wrong_key(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(api_keys={"me": hashlib.sha256(b"right").hexdigest()})
    with pytest.raises(HfHubHTTPError, match="an API key is needed") as caught:
        InferenceClient(model=f"{server.url}/hf", token="wrong").text_to_image("a")
    assert caught.value.response.status_code == 401
    assert InferenceClient(model=f"{server.url}/hf", token="right").text_to_image("a").size == (512, 512)


@pytest.mark.anyio
async def test_hanging_up_cancels(server: RunningServer) -> None:
    server.backend.step_seconds = 3600.0

    async with AsyncInferenceClient(model=f"{server.url}/hf") as client:
        await hang_up_on(server, client.text_to_image("a"))
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled"])


def test_the_job_can_be_followed_and_cancelled_under_an_id_of_the_callers_choice(server: RunningServer) -> None:
    server.backend.step_seconds = 0.01
    client = InferenceClient(model=f"{server.url}/hf", headers={"X-Job-Id": "mine"})
    seen: list[dict[str, Any]] = []

    def follow() -> None:
        url = f"{server.url}/api/v1/jobs/mine"
        wait_for(lambda: get(url).status_code == 200 and get(url).json()["step"])
        seen.append(get(url).json())
        post(f"{url}/cancel")

    other = threading.Thread(target=follow)
    other.start()
    with pytest.raises(HfHubHTTPError, match="job mine was cancelled"):
        client.text_to_image("a", num_inference_steps=1000)
    other.join()
    assert seen[0]["dialect"] == "huggingface"
    assert 0 < seen[0]["progress"] < 1


@pytest.mark.parametrize("id", ["", "-", "a b", "a/b", "a" * 129])
def test_an_id_of_the_callers_choice_is_checked(server: RunningServer, id: str) -> None:
    answer = ask(server, {"inputs": "a"}, **{"X-Job-Id": id})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("X-Job-Id: ")


def test_an_idempotency_key_gives_the_same_picture(server: RunningServer) -> None:
    answers = [ask(server, {"inputs": "a"}, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert len(all_jobs(server)) == 1
    assert ask(server, {"inputs": "b"}, **{"Idempotency-Key": "k"}).status_code == 409


@pytest.mark.anyio
async def test_the_async_client(server: RunningServer) -> None:
    async with AsyncInferenceClient(model=f"{server.url}/hf") as client:
        images = await asyncio.gather(*(client.text_to_image("a", seed=seed) for seed in range(4)))
        assert len({image.tobytes() for image in images}) == 4


def test_whose_paths_they_are() -> None:
    assert all(map(DIALECT.owns, ["/hf", "/hf/", "/hf/models/a", "/hf/else"]))
    assert not any(map(DIALECT.owns, ["/", "/hfx", "/v1/models"]))


def test_on_the_real_engine(engine_server: RunningServer) -> None:
    client = InferenceClient(model=f"{engine_server.url}/hf")
    given: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 3, "seed": 5}
    image = client.text_to_image("a boat", **given)
    assert "Steps: 3, Sampler: Euler, Schedule type: Normal" in image.info["parameters"]
    assert client.text_to_image("a boat", **given).tobytes() == image.tobytes()
    assert client.text_to_image("a boat", **given, scheduler="DDIMScheduler").tobytes() != image.tobytes()
