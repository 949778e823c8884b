"""Tests text to picture by AUTOMATIC1111's API: the answer, and how pictures are made."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from engine import GenerationRequest
from engine.formats.png import request_from_png
from engine.request_a1111 import A1111
from tests.server.conftest import RunningServer
from tests.server.dialects.sdapi.calls import txt2img
from tests.server.following import all_jobs


def test_the_answer_has_what_clients_read(client: httpx.Client) -> None:
    answer = txt2img(client, prompt="a cat", negative_prompt="dogs", seed=7, cfg_scale=5.5, sampler_name="DPM++ 2M")
    (image,) = answer["images"]
    png = base64.b64decode(image, validate=True)
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))
    info = json.loads(answer["info"])
    assert info["infotexts"] == [Image.open(io.BytesIO(png)).text["parameters"]]  # type: ignore[attr-defined]
    assert info["infotexts"][0].startswith("a cat\nNegative prompt: dogs\nSteps: 3, Sampler: DPM++ 2M, ")
    expected = {
        "prompt": "a cat", "all_prompts": ["a cat"], "negative_prompt": "dogs", "all_negative_prompts": ["dogs"],
        "seed": 7, "all_seeds": [7], "width": 64, "height": 64, "sampler_name": "DPM++ 2M", "cfg_scale": 5.5,
        "steps": 3, "batch_size": 1, "clip_skip": 1, "index_of_first_image": 0, "sd_model_name": "instant",
    }  # fmt: skip
    assert {key: info[key] for key in expected} == expected
    assert len(info["sd_model_hash"]) == 10
    assert answer["parameters"]["prompt"] == "a cat"
    assert answer["parameters"]["n_iter"] == 1
    assert request_from_png(png) == GenerationRequest(
        prompt="a cat", negative_prompt="dogs", prompt_syntax="a1111", seed=7, cfg_scale=5.5, sampler="dpmpp_2m",
        a1111=A1111(schedule="karras"), width=64, height=64, steps=3, model="instant.safetensors",
    )  # fmt: skip


def test_an_empty_body_is_enough(client: httpx.Client) -> None:
    response = client.post("/sdapi/v1/txt2img", json={})
    info = json.loads(response.json()["info"])
    assert (info["prompt"], info["steps"], info["cfg_scale"], info["width"]) == ("", 50, 7.0, 512)
    assert 0 <= info["seed"] < 2**32


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain; charset=utf-8", "nonsense"])
def test_a_body_is_json_whatever_its_content_type_says(client: httpx.Client, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    body = b'{"prompt": "x", "steps": 2, "width": 64, "height": 64}'
    answer = client.post("/sdapi/v1/txt2img", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameters"]["steps"] == 2
    options = client.post("/sdapi/v1/options", content=b'{"CLIP_stop_at_last_layers": 2}', headers=headers)
    assert options.status_code == 200, options.text
    answer = client.post("/sdapi/v1/txt2img", content=b"prompt=x", headers=headers)
    assert answer.status_code == 422
    assert "not JSON" in answer.json()["errors"]


def test_pictures_of_a_batch_are_those_of_their_own_seeds(client: httpx.Client) -> None:
    together = txt2img(client, prompt="x", seed=2**64 - 2, batch_size=2, n_iter=2)
    seeds = json.loads(together["info"])["all_seeds"]
    assert seeds == [2**64 - 2, 2**64 - 1, 0, 1]
    alone = [txt2img(client, prompt="x", seed=seed)["images"][0] for seed in seeds]
    assert together["images"] == alone
    assert len(set(alone)) == 4


def test_the_same_call_gives_the_same_bytes(client: httpx.Client) -> None:
    assert txt2img(client, prompt="x", seed=3)["images"] == txt2img(client, prompt="x", seed=3)["images"]
    assert txt2img(client, prompt="x")["images"] != txt2img(client, prompt="x")["images"]


def test_pictures_may_be_left_out(client: httpx.Client) -> None:
    answer = txt2img(client, send_images=False, batch_size=2)
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["infotexts"]) == 2


def test_prompts_are_reported_as_they_were_sent(client: httpx.Client) -> None:
    answer = txt2img(client, prompt="a [cat]", negative_prompt="[dogs] # all", batch_size=2)
    info = json.loads(answer["info"])
    for shown in (answer["parameters"], info):
        assert (shown["prompt"], shown["negative_prompt"]) == ("a [cat]", "[dogs] # all")
    assert info["all_prompts"] == ["a [cat]"] * 2
    assert info["all_negative_prompts"] == ["[dogs] # all"] * 2
    for text in info["infotexts"]:
        assert text.startswith("a [cat]\nNegative prompt: [dogs] \n")
    there = "of [old]\nNegative prompt: [new]\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"
    answer = client.post("/sdapi/v1/txt2img", json={"infotext": there, "negative_prompt": "mine"}).json()
    info = json.loads(answer["info"])
    assert (info["prompt"], info["negative_prompt"]) == ("of [old]", "mine")


def test_an_infotext_gives_the_picture_again(client: httpx.Client) -> None:
    first = txt2img(client, prompt="x", seed=9, sampler_name="Heun")
    text = json.loads(first["info"])["infotexts"][0]
    again = client.post("/sdapi/v1/txt2img", json={"infotext": text}).json()
    assert again["images"] == first["images"]


def test_what_a_call_says_goes_before_its_infotext(client: httpx.Client) -> None:
    body = {"prompt": "x", "seed": 9, "sampler_name": "Heun", "subseed": 3, "subseed_strength": 0.5}
    text = json.loads(txt2img(client, **body)["info"])["infotexts"][0]
    other = txt2img(client, **{**body, "seed": 10, "sampler_name": "Euler a", "scheduler": "Karras"})
    named = {"infotext": text, "seed": 10, "sampler_name": "Euler a", "scheduler": "Karras"}
    assert client.post("/sdapi/v1/txt2img", json=named).json()["images"] == other["images"]


@pytest.mark.parametrize(
    "fields",
    [{"subseed_strength": 0.2}, {"eta": 0.5}, {"scheduler": "Karras"}, {"override_settings": {"randn_source": "CPU"}}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_an_infotext_says_in_other_words_is_refused_beside_it(
    client: httpx.Client, fields: dict[str, Any]
) -> None:
    text = json.loads(txt2img(client, prompt="x", seed=9)["info"])["infotexts"][0]
    response = client.post("/sdapi/v1/txt2img", json={"infotext": text, **fields})
    assert response.status_code == 422
    assert next(iter(fields)) in response.json()["errors"]


def test_a_model_for_one_call(client: httpx.Client) -> None:
    titles = [model["title"] for model in client.get("/sdapi/v1/sd-models").json()]
    other = txt2img(client, seed=1, override_settings={"sd_model_checkpoint": titles[1]})
    assert json.loads(other["info"])["sd_model_name"] == "other"
    assert json.loads(txt2img(client, seed=1)["info"])["sd_model_name"] == "instant"
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == titles[0]


def test_a_model_from_this_call_on(client: httpx.Client) -> None:
    override = {"sd_model_checkpoint": "other", "CLIP_stop_at_last_layers": 2}
    txt2img(client, override_settings=override, override_settings_restore_afterwards=False)
    info = json.loads(txt2img(client)["info"])
    assert (info["sd_model_name"], info["clip_skip"]) == ("other", 2)


def test_what_callers_send_by_mistake_is_not_sent_back(client: httpx.Client) -> None:
    assert "secret" not in json.dumps(txt2img(client, auth="user:secret", url="http://secret"))


def test_a_call_that_comes_again_with_its_key_gets_the_same_pictures(
    client: httpx.Client, server: RunningServer
) -> None:
    client.headers["Idempotency-Key"] = "once"
    first, again = txt2img(client, prompt="a"), txt2img(client, prompt="a")
    assert first["images"] == again["images"]
    assert len(all_jobs(server)) == 1
    assert client.post("/sdapi/v1/txt2img", json={"prompt": "b"}).status_code == 409
    client.headers = {"X-Job-Id": "mine"}
    txt2img(client)
    assert client.get("/api/v1/jobs/mine").json()["state"] == "succeeded"
