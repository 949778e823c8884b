"""Drives OpenAI's edits and variations with OpenAI's own client over HTTP."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from engine import GenerationRequest
from server.job import Job
from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import client_of, picture
from tests.server.following import all_jobs, get, input_of, png_of, post

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's word for variations

RED = png_of(Image.new("RGB", (96, 64), "red"))


def holed(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Return a picture whose left half is transparent."""
    image = Image.new("RGBA", size, (0, 255, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image


def only_job(server: RunningServer) -> Job:
    (job,) = all_jobs(server)
    return job


def test_an_edit_starts_from_the_picture_in_its_own_size(server: RunningServer, client: OpenAI) -> None:
    answer = client.images.edit(image=("a.png", RED), prompt="a blue bottle", model="")
    assert answer.data is not None
    assert (answer.size, picture(answer.data[0].b64_json).size) == ("96x64", (96, 64))
    job = only_job(server)
    plain = GenerationRequest(prompt="a blue bottle", width=96, height=64, denoise=0.8, model="instant")
    assert job.request.mask is None
    assert input_of(server, job, "image").getpixel((0, 0)) == (255, 0, 0)
    assert dataclasses.replace(job.request, image=None, seed=0) == dataclasses.replace(plain, seed=0)


def test_what_is_transparent_in_the_mask_is_painted_anew(server: RunningServer, client: OpenAI) -> None:
    client.images.edit(image=RED, mask=png_of(holed()), prompt="a")
    job = only_job(server)
    mask = input_of(server, job, "mask").convert("RGB")
    assert (mask.getpixel((0, 0)), mask.getpixel((95, 63))) == ((255, 255, 255), (0, 0, 0))
    assert job.request.denoise == 1


def test_half_transparent_parts_are_half_masked(server: RunningServer, client: OpenAI) -> None:
    client.images.edit(image=RED, mask=png_of(Image.new("RGBA", (96, 64), (9, 9, 9, 55))), prompt="a")
    assert input_of(server, only_job(server), "mask").getpixel((5, 5)) == 200


def test_without_a_mask_the_pictures_own_transparency_is_one(server: RunningServer, client: OpenAI) -> None:
    client.images.edit(image=png_of(holed()), prompt="a")
    mask = input_of(server, only_job(server), "mask")
    assert (mask.getpixel((0, 0)), mask.getpixel((95, 63))) == (255, 0)
    client.images.edit(image=png_of(Image.new("RGBA", (96, 64))), mask=png_of(holed()), prompt="a")
    assert input_of(server, all_jobs(server)[1], "mask").getpixel((95, 63)) == 0


def test_our_own_parameters_go_through_the_clients_form(server: RunningServer, client: OpenAI) -> None:
    own: dict[str, Any] = {
        "strength": 0.25,
        "steps": 3,
        "seed": 2**64 - 1,
        "negative_prompt": "fog",
        "cfg_scale": 1.5,
        "loras": [{"name": "ink", "strength": 0.5}, {"name": "7", "strength": 1}],
        "hires": {"scale": 1.5},
        "controls": [{"model": "canny", "image": base64.b64encode(RED).decode()}],
        "vae": "soft",
    }
    answer = client.images.edit(image=[RED], prompt="a", n=2, size="64x64", extra_body=own)
    assert answer.data is not None
    assert len(answer.data) == 2
    first, second = only_job(server).requests
    assert (first.seed, second.seed, first.denoise, first.steps) == (2**64 - 1, 0, 0.25, 3)
    assert [(lora.name, lora.strength) for lora in first.loras] == [("ink", 0.5), ("7", 1.0)]
    assert first.hires is not None
    assert (first.hires.scale, answer.size, first.width) == (1.5, "96x96", 64)
    assert first.controls[0].image == first.image
    assert (first.vae, first.cfg_scale, first.negative_prompt) == ("soft", 1.5, "fog")


@pytest.mark.parametrize("form", ["images", "image", "data", "lines", "chat", "id", "own url", "file"])
def test_json_may_hold_the_picture_in_each_form(server: RunningServer, form: str) -> None:
    text = base64.b64encode(RED).decode()
    data = f"data:image/png;base64,{text}"
    made = post(f"{server.url}/v1/images/edits", json={"prompt": "a", "image": text, "response_format": "url"})
    url = made.json()["data"][0]["url"]
    id = only_job(server).request.image
    forms: dict[str, dict[str, Any]] = {
        "images": {"images": [{"image_url": data}]},
        "image": {"image": [text]},
        "data": {"image": data.replace("data", "DATA")},
        "lines": {"image": base64.encodebytes(RED).decode().rstrip("=\n")},
        "chat": {"images": [{"type": "image_url", "image_url": {"url": data}}]},
        "id": {"image": id},
        "file": {"images": [{"file_id": id}]},
        "own url": {"images": [{"image_url": url}]},
    }
    body = {"prompt": "a", "mask": {"image_url": f"data:,{png_as_url(holed())}"}, **forms[form]}
    answer = post(f"{server.url}/v1/images/edits", json=body)
    assert answer.status_code == 200, answer.text
    job = all_jobs(server)[1]
    assert input_of(server, job, "mask").getpixel((0, 0)) == 255
    assert (job.request.image == id) == (form != "own url")


def png_as_url(image: Image.Image) -> str:
    return "".join(f"%{byte:02x}" for byte in png_of(image))


@pytest.mark.parametrize("size", [(100, 61), (8, 3000), (5000, 3000)])
def test_auto_is_the_pictures_size_as_far_as_it_can_be(
    server: RunningServer, client: OpenAI, size: tuple[int, int]
) -> None:
    answer = client.images.edit(image=png_of(Image.new("L", size)), prompt="a", extra_body={"steps": 1})
    width, height = map(int, str(answer.size).split("x"))
    assert width % 8 == height % 8 == 0
    assert width * height <= server.services.settings.max_pixels
    if size[0] * size[1] <= server.services.settings.max_pixels:
        assert (abs(width - size[0]), abs(height - size[1])) <= (8, 8)
    else:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.01)


def test_one_side_may_be_given(server: RunningServer, client: OpenAI) -> None:
    answer = client.images.edit(image=RED, prompt="a", size="auto", extra_body={"width": 128})
    assert answer.size == "128x64"


@pytest.mark.parametrize(
    ("fidelity", "mask", "strength"),
    [("low", False, 0.8), ("high", False, 0.5), ("low", True, 1), ("high", True, 0.8)],
)
def test_the_fidelity_is_the_strength(
    server: RunningServer, client: OpenAI, fidelity: Any, mask: bool, strength: float
) -> None:
    given: dict[str, Any] = {"mask": png_of(holed())} if mask else {}
    client.images.edit(image=RED, prompt="a", input_fidelity=fidelity, **given)
    assert only_job(server).request.denoise == strength


@pytest.mark.parametrize(("quality", "steps"), [("low", 10), ("medium", 20), ("high", 40), ("auto", 20)])
def test_the_quality_is_the_steps(server: RunningServer, client: OpenAI, quality: Any, steps: int) -> None:
    answer = client.images.edit(image=RED, prompt="a", quality=quality)
    assert only_job(server).request.steps == steps
    assert answer.quality == (None if quality == "auto" else quality)


def test_variations_need_no_prompt(server: RunningServer, client: OpenAI) -> None:
    answer = client.images.create_variation(image=png_of(holed()), n=2, size="256x256", response_format="url")
    assert answer.data is not None
    assert [Image.open(io.BytesIO(get(str(each.url)).content)).size for each in answer.data] == [(256, 256)] * 2
    request = only_job(server).request
    assert (request.prompt, request.denoise, request.mask) == ("", 0.6, None)
    seeds = [each.seed for each in answer.data]  # type: ignore[attr-defined]
    assert seeds == [each.seed for each in only_job(server).requests]


def test_a_stream_of_an_edit(server: RunningServer, client: OpenAI) -> None:
    server.backend.step_seconds = 0.01
    given: dict[str, Any] = {
        "image": RED,
        "prompt": "a",
        "output_format": "jpeg",
        "extra_body": {"seed": 3, "steps": 30},
    }
    *partials, whole = list(client.images.edit(stream=True, partial_images=2, **given))
    assert {event.type for event in partials} == {"image_edit.partial_image"}
    assert whole.type == "image_edit.completed"
    for event in (*partials, whole):
        image = picture(event.b64_json)
        assert (image.format, image.size, event.size) == ("JPEG", (96, 64), "96x64")
    again = client.images.edit(**given).data
    assert again is not None
    assert again[0].b64_json == whole.b64_json


@pytest.mark.anyio
async def test_the_async_client(server: RunningServer) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        edited = await client.images.edit(image=RED, mask=png_of(holed()), prompt="a", extra_body={"seed": 3})
        varied = await client.images.create_variation(image=RED, n=1)
        events = [e async for e in await client.images.edit(image=RED, prompt="a", stream=True, extra_body={"seed": 3})]
    assert edited.data
    assert varied.data
    assert [event.type for event in events] == ["image_edit.completed"]
    assert edited.data[0].b64_json != events[0].b64_json


def test_an_idempotency_key_stands_for_the_pictures_too(server: RunningServer, client: OpenAI) -> None:
    header = {"Idempotency-Key": "k"}
    answers = [client.images.edit(image=RED, prompt="a", extra_headers=header).data for _ in range(2)]
    assert answers[0] == answers[1]
    with pytest.raises(openai.ConflictError):
        client.images.edit(image=png_of(holed()), prompt="a", extra_headers=header)
    with pytest.raises(openai.ConflictError):
        client.images.create_variation(image=RED, extra_headers=header)


def test_aliases_and_the_empty_name(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(model_aliases={"dall-e-3": "other", "gpt-image-1": "gone", "instant": "other"})
    with client_of(server) as client:
        for name in ("dall-e-3", "", "instant"):
            client.images.generate(prompt="a", model=name)
        client.images.edit(image=RED, prompt="a", model="dall-e-3")
        assert [job.model for job in all_jobs(server)] == ["other", "instant", "instant", "other"]
        assert [model.id for model in client.models.list()] == ["instant", "other", "dall-e-3"]
        assert client.models.retrieve("dall-e-3").id == "dall-e-3"
        with pytest.raises(openai.NotFoundError, match="'gone' is not allowed; expected one of instant, other"):
            client.images.generate(prompt="a", model="gpt-image-1")


def test_on_the_real_engine(engine_server: RunningServer) -> None:
    own = {"steps": 4, "seed": 5}
    with client_of(engine_server) as client:
        given: dict[str, Any] = {"image": png_of(holed()), "prompt": "a boat", "extra_body": own}
        *partials, whole = list(client.images.edit(stream=True, partial_images=2, **given))
        plain = client.images.edit(**given).data
        assert plain is not None
        assert partials
        assert whole.b64_json == plain[0].b64_json
        kept = client.images.edit(image=RED, prompt="a boat", extra_body={**own, "strength": 0.05}).data
        assert kept is not None
        assert picture(kept[0].b64_json).size == (96, 64)
        assert kept[0].b64_json != plain[0].b64_json
