"""``generate`` makes what was asked for, answers in every form, and can be waited for or not."""

from __future__ import annotations

import base64
import io

import httpx
import requests
from PIL import Image

from engine import GenerationRequest
from engine.formats.png import request_from_png
from engine.parameters import from_json, parameters_of, to_json
from engine.request import MAX_SEED
from tests.server.conftest import RunningServer
from tests.server.dialects.native.client import JSON, generate, picture
from tests.server.following import all_jobs, wait_for

_EVERYTHING: JSON = {
    "prompt": "ein (Häuschen:1.2) 🏠",
    "negative_prompt": "",
    "prompt_syntax": "a1111",
    "width": 72,
    "height": 64,
    "batch_size": 2,
    "steps": 3,
    "cfg_scale": 4.5,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "seed": MAX_SEED,
    "start_noise": "cuda",
    "step_noise": "cuda",
    "denoise": 0.5,
    "clip_skip": 2,
    "model": "other",
    "regions": [
        {
            "prompt": "a door",
            "x": 8,
            "y": 0,
            "width": 64,
            "height": 64,
            "strength": 0.5,
            "mask": None,
            "start": 0.0,
            "end": 1.0,
        }
    ],
    "loras": [],
    "prompt_reading": None,
    "vae": None,
    "image": None,
    "mask": None,
    "mask_mode": "noise",
    "controls": [],
    "hires": None,
    "upscale": None,
    "a1111": None,
}


def test_the_missions_client_works_unchanged(server: RunningServer) -> None:
    def generate_image(prompt: str, negative_prompt: str = "", size: tuple[int, int] = (512, 512)) -> str:
        payload = {"prompt": prompt, "negative_prompt": negative_prompt, "width": size[0], "height": size[1]}
        response = requests.post(f"{server.url}/api/v1/generate", json=payload, timeout=60)
        url: str = response.json()["output_url"]
        return url

    made = requests.get(generate_image("a boat", size=(64, 128)), timeout=60)
    assert made.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(made.content)).size == (64, 128)
    assert request_from_png(made.content).prompt == "a boat"
    assert request_from_png(made.content).negative_prompt == ""


def test_nothing_asked_for_is_the_workflows_own_picture(client: httpx.Client) -> None:
    answer = client.post("/generate")
    assert answer.status_code == 200
    expected = {**to_json(GenerationRequest()), "model": "instant"}
    assert answer.json()["parameters"] == expected
    assert generate(client)["parameters"] == expected


def test_every_parameter_arrives_and_is_shown(client: httpx.Client) -> None:
    asked = _EVERYTHING
    assert asked.keys() == parameters_of(GenerationRequest).keys()
    job = generate(client, **asked)
    assert job["parameters"] == asked
    assert job["state"] == "succeeded"
    assert (job["seed"], job["model"], job["job_id"]) == (MAX_SEED, "other", job["id"])
    assert job["output_url"] == job["images"][0]["url"]
    assert [(made["index"], made["request"], made["seed"]) for made in job["images"]] == [
        (0, 0, MAX_SEED),
        (1, 0, MAX_SEED),
    ]
    assert {"queued", "sample", "decode", "total"} <= job["timings"].keys()
    png = httpx.get(job["images"][1]["url"]).content
    assert request_from_png(png) == from_json(GenerationRequest, asked | {"model": "other.safetensors"})


def test_a_whole_number_may_be_written_with_a_point(client: httpx.Client) -> None:
    body = {"width": 64.0, "height": 64.0, "steps": 2.0, "seed": 2.0**53 - 1, "count": 2.0, "priority": 1.0}
    job = generate(client, **body)
    assert (job["parameters"]["width"], job["parameters"]["steps"], job["priority"]) == (64, 2, 1)
    assert [made["seed"] for made in job["images"]] == [2**53 - 1, 2**53]
    assert "." not in str(job["parameters"]["steps"])


def test_count_counts_seeds_on_and_over_the_end(client: httpx.Client) -> None:
    job = generate(client, seed=MAX_SEED, count=3, steps=1, width=64, height=64)
    assert [made["seed"] for made in job["images"]] == [MAX_SEED, 0, 1]
    assert job["count"] == 3
    alone = generate(client, seed=0, steps=1, width=64, height=64)
    pixels = [picture(httpx.get(url)).tobytes() for url in (job["images"][1]["url"], alone["output_url"])]
    assert pixels[0] == pixels[1]


def test_seeds_may_be_text_and_fresh_ones_are_drawn_and_shown(client: httpx.Client) -> None:
    small = {"steps": 1, "width": 64, "height": 64}
    assert generate(client, seed="18446744073709551615", **small)["seed"] == MAX_SEED
    assert generate(client, seed=0, **small)["seed"] == 0
    drawn = [generate(client, seed=seed, **small)["seed"] for seed in (None, -1, "-1", None)]
    assert len(set(drawn)) == 4
    counted = generate(client, seed=None, count=2, **small)
    assert (counted["images"][1]["seed"] - counted["images"][0]["seed"]) % (MAX_SEED + 1) == 1


def test_base64_and_path_are_the_same_bytes_as_the_url(client: httpx.Client) -> None:
    job = generate(client, response_format="base64", count=2)
    for made in job["images"]:
        assert base64.b64decode(made["base64"]) == httpx.get(made["url"]).content
        assert made["path"] is None
    made = generate(client, response_format="path")["images"][0]
    with open(made["path"], "rb") as file:
        assert file.read() == httpx.get(made["url"]).content
    assert made["base64"] is None


def test_png_is_the_picture_itself(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"response_format": "png", "seed": 7})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "7"
    assert httpx.get(answer.headers["content-location"]).content == answer.content
    assert client.get(f"/jobs/{answer.headers['x-job-id']}").json()["seed"] == 7
    assert "2 pictures" in generate(client, 400, response_format="png", count=2)["detail"]


def test_a_job_that_is_not_waited_for_is_answered_at_once(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.05
    for headers, body in (({}, {"async": True}), ({"Prefer": "respond-async"}, {})):
        answer = client.post("/generate", json={"prompt": "a boat", **body}, headers=headers)
        assert answer.status_code == 202
        job = answer.json()
        assert job["state"] in ("queued", "running")
        assert answer.headers["location"] == job["url"] == f"{server.url}/api/v1/jobs/{job['id']}"
        assert job["output_url"] is None
        server.backend.step_seconds = 0.0
        wait_for(lambda url=job["url"]: httpx.get(url).json()["state"] == "succeeded")  # type: ignore[misc]
        assert httpx.get(job["url"]).json()["output_url"].endswith(".png")


def test_prefer_wait_waits_as_long_as_it_says(client: httpx.Client, server: RunningServer) -> None:
    prefer = {"Prefer": "respond-async, wait=60"}
    assert client.post("/generate", json={}, headers=prefer).status_code == 200
    server.backend.step_seconds = 30
    answer = client.post("/generate", json={}, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202
    assert client.post(f"/jobs/{answer.json()['id']}/cancel").status_code == 200


def test_an_idempotency_key_gives_the_same_job_again(client: httpx.Client, server: RunningServer) -> None:
    body = {"prompt": "a boat", "seed": None, "count": 2}
    first = client.post("/generate", json=body, headers={"Idempotency-Key": "once"}).json()
    again = client.post("/generate", json={**body, "idempotency_key": "once"}).json()
    assert first["id"] == again["id"]
    assert first["images"] == again["images"]
    assert len(all_jobs(server)) == 1
    conflict = generate(client, 409, **(body | {"prompt": "a house"}), idempotency_key="once")
    assert conflict["kind"] == "idempotency_conflict"
    for other in ({"priority": 1}, {"webhook_url": "http://127.0.0.1:9/"}):
        assert generate(client, 409, **body, **other, idempotency_key="once")["kind"] == "idempotency_conflict"
    both = client.post("/generate", json={"idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
    assert (both.status_code, both.json()["field"]) == (400, "idempotency_key")


def test_the_real_engine_makes_the_same_picture_for_the_same_request(engine_server: RunningServer) -> None:
    url = f"{engine_server.url}/api/v1/generate"
    asked = {"prompt": "a boat", "seed": 3, "steps": 2, "width": 64, "height": 64, "response_format": "png"}
    first, again = (httpx.post(url, json=asked, timeout=120).content for _ in range(2))
    assert first == again
    assert httpx.post(url, json=asked | {"seed": 4}, timeout=120).content != first
