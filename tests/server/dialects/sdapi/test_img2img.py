"""A call of ``img2img`` becomes the workflow that AUTOMATIC1111's words mean."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from engine.workflow.editing import CompositePictures, CropPictures, PastedUnder, ResizePictures
from engine.workflow.encoding import Encode, WithNoiseMask
from engine.workflow.inpainting import FillHole, WithMaskedPicture
from engine.workflow.latents import EmptyLatents, ResizeLatents
from engine.workflow.masks import BlurMask, InvertMask, ThresholdMask
from engine.workflow.needs import needs_of, steps_of
from engine.workflow.pictures import LoadPicture
from engine.workflow.sampling import NoiseLatents, Sample
from engine.workflow.sizes import Known
from tests.server.conftest import RunningServer
from tests.server.dialects.sdapi.plans import base64_of, img2img_plan, input_of, nodes_of

IMAGE = Image.linear_gradient("L").resize((96, 80)).convert("RGB")
MASK = Image.new("L", (96, 80))
MASK.paste(255, (40, 30, 60, 50))


def size_of(plan: Any) -> tuple[int, int]:
    workflow = plan.wanted[0]
    known = Known(pictures=tuple((input_of(each).id, input_of(each).size) for each in (IMAGE, MASK)))
    (output,) = workflow.outputs.values()
    return needs_of(workflow, known).pictures(output).pixels


@pytest.mark.parametrize(("strength", "steps"), [(0, 1), (0.3, 4), (0.5, 6), (0.75, 8), (0.99, 10), (1, 10)])
def test_as_many_steps_are_run_as_there(strength: float, steps: int) -> None:
    (sample,) = nodes_of(img2img_plan(IMAGE, denoising_strength=strength, steps=10), Sample)
    assert steps_of(sample.sigmas) == steps


@pytest.mark.parametrize("mode", range(4))
@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (64, 192)])
def test_each_resize_mode_gives_the_size_that_is_asked_for(mode: int, shape: tuple[int, int]) -> None:
    plan = img2img_plan(IMAGE, resize_mode=mode, width=shape[0], height=shape[1])
    assert size_of(plan) == shape
    assert bool(nodes_of(plan, ResizeLatents)) == (mode == 3)


def test_a_picture_that_has_the_size_stays_as_it_is() -> None:
    for mode in range(3):
        plan = img2img_plan(IMAGE, resize_mode=mode, width=96, height=80)
        assert not nodes_of(plan, ResizePictures) + nodes_of(plan, CropPictures)


def test_transparent_parts_become_white() -> None:
    (composite,) = nodes_of(img2img_plan(Image.new("RGBA", (64, 64), (9, 9, 9, 5))), CompositePictures)
    assert composite.below.colour == 0xFFFFFF


@pytest.mark.parametrize(("fill", "kind"), [(0, None), (1, None), (2, NoiseLatents), (3, EmptyLatents)])
def test_what_the_masked_part_starts_from(fill: int, kind: Any) -> None:
    plan = img2img_plan(IMAGE, MASK, prompt="x", inpainting_fill=fill, inpaint_full_res=False)
    found = {each for each in (NoiseLatents, EmptyLatents) if nodes_of(plan, each)}
    assert found == ({kind} if kind else set()) | ({EmptyLatents} if fill == 2 else set())
    assert bool(nodes_of(plan, FillHole)) == (fill != 1)  # around latent noise, too, the mask's edges are filled
    assert nodes_of(plan, WithNoiseMask)
    assert len(nodes_of(plan, WithMaskedPicture)) == 2
    assert size_of(plan) == (64, 64)


def test_masks_are_blurred_inverted_and_rounded() -> None:
    plan = img2img_plan(IMAGE, MASK, mask_blur_x=2, mask_blur_y=3, inpainting_mask_invert=1, mask_round=False)
    (blur,) = nodes_of(plan, BlurMask)
    assert (blur.x, blur.y) == (2, 3)
    assert isinstance(blur.mask, InvertMask)
    assert not nodes_of(plan, ThresholdMask)
    assert not nodes_of(img2img_plan(IMAGE, MASK, mask_blur=0), BlurMask)


def test_only_the_masked_part_is_painted_and_pasted_back() -> None:
    plan = img2img_plan(IMAGE, MASK, mask_blur=0, inpaint_full_res_padding=10)
    assert size_of(plan) == IMAGE.size
    crops = {(each.x, each.y, each.width, each.height) for each in nodes_of(plan, CropPictures)}
    assert crops == {(30, 20, 40, 40)}
    (pasted,) = nodes_of(plan, PastedUnder)
    assert (pasted.x, pasted.y, pasted.original) == (30, 20, LoadPicture(name=input_of(IMAGE).id))
    assert plan.notes["Inpaint area"] == "Only masked"


def test_an_empty_mask_is_none() -> None:
    plan = img2img_plan(IMAGE, Image.new("L", (96, 80)))
    assert not nodes_of(plan, WithNoiseMask)
    assert size_of(plan) == (64, 64)


def test_a_batch_of_pictures_and_its_seeds(server: RunningServer, client: httpx.Client) -> None:
    other = Image.new("RGB", (64, 64), (250, 0, 0))
    images = [base64_of(IMAGE), "data:image/png;base64," + base64_of(other)]
    body = {"init_images": images, "batch_size": 3, "n_iter": 2, "width": 64, "height": 64, "steps": 2, "seed": 7}
    answer = client.post("/sdapi/v1/img2img", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 4  # as many as pictures, twice
    loaded = [{node.name for node in each.nodes if isinstance(node, LoadPicture)} for each in server.backend.started]
    ids = [{input_of(image).id} for image in (IMAGE, other)]
    assert sorted(map(sorted, loaded)) == sorted(map(sorted, ids * 2))
    assert answer.json()["parameters"]["init_images"] is None
    again = client.post("/sdapi/v1/img2img", json={**body, "include_init_images": True}).json()
    assert again["parameters"]["init_images"] == images
    assert again["images"] == answer.json()["images"]


def test_the_picture_says_how_it_was_made(client: httpx.Client) -> None:
    body = {"init_images": [base64_of(IMAGE)], "mask": base64_of(MASK), "width": 64, "height": 64, "prompt": "a cat"}
    answer = client.post("/sdapi/v1/img2img", json=body).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as picture:
        text = picture.info["parameters"]
    assert text.startswith("a cat\nSteps: 50, ")
    said = dict(each.split(": ") for each in text.splitlines()[-1].split(", "))
    expected = {"Denoising strength": "0.75", "Mask blur": "4", "Inpaint area": "Only masked"}
    assert {**said, **expected, "Masked area padding": "0"} == said
    assert text.rpartition(", ")[2].startswith("Version: ")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"init_images": []}, "init_images"),
        ({"init_images": None}, "init_images"),
        ({"init_images": ["no picture"]}, "init_images[0]"),
        ({"init_images": ["https://example.com/x.png"]}, "init_images[0]"),
        ({"init_images": ["image", "image"]}, "init_images"),
        ({"mask": "AAAA"}, "mask"),
        ({"resize_mode": 4}, "resize_mode"),
        ({"inpainting_fill": 4}, "inpainting_fill"),
        ({"denoising_strength": 1.5}, "denoising_strength"),
        ({"initial_noise_multiplier": -1}, "initial_noise_multiplier"),
        ({"prompt": "x", "restore_faces": True}, "restore_faces"),
        ({"width": 15}, "width"),
        ({"width": 16384, "height": 16384}, "width"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    shared_client: httpx.Client, fields: dict[str, Any], named: str
) -> None:
    pictures = {"image": base64_of(IMAGE), "mask": base64_of(MASK)}
    sent = {"init_images": ["image"], "width": 64, "height": 64, "steps": 2, **fields}
    for name in ("init_images", "mask"):
        if isinstance(sent.get(name), list):
            sent[name] = [pictures.get(each, each) for each in sent[name]]
        elif name in sent:
            sent[name] = pictures.get(sent[name], sent[name])
    response = shared_client.post("/sdapi/v1/img2img", json=sent)
    assert response.status_code == 422
    assert named in response.json()["detail"][0]["loc"]


@pytest.mark.parametrize(("program", "status"), [("a1111", 200), ("comfyui", 422)])
def test_a_refiner_beside_a_mask_is_for_automatic1111s_picture(
    open_server: Callable[..., RunningServer], program: str, status: int
) -> None:
    body = {"init_images": [base64_of(IMAGE)], "mask": base64_of(MASK), "width": 64, "height": 64, "steps": 2}
    body |= {"refiner_checkpoint": "other", "refiner_switch_at": 0.5}
    response = httpx.post(f"{open_server(sdapi_pictures=program).url}/sdapi/v1/img2img", json=body)
    assert response.status_code == status, response.text
    assert status == 200 or response.json()["detail"][0]["loc"] == ["body", "refiner_checkpoint"]


def test_what_a_refused_call_handed_in_is_not_kept(server: RunningServer, client: httpx.Client) -> None:
    body = {"init_images": [base64_of(IMAGE)], "width": 15}
    assert client.post("/sdapi/v1/img2img", json=body).status_code == 422
    tidying = asyncio.run_coroutine_threadsafe(server.services.inputs.tidy(), server.loop)
    assert tidying.result(60) == 1


def test_only_the_encoded_picture_is_scaled_where_latents_are() -> None:
    plan = img2img_plan(IMAGE, resize_mode=3)
    (encode,) = nodes_of(plan, Encode)
    assert encode.pictures == LoadPicture(name=input_of(IMAGE).id)


@pytest.mark.parametrize("mask", [None, MASK])
def test_the_first_noise_has_a_factor(mask: Image.Image | None) -> None:
    plain = img2img_plan(IMAGE, mask)
    (sample,) = nodes_of(plain, Sample)
    for factor in (1, 0.5):
        plan = img2img_plan(IMAGE, mask, initial_noise_multiplier=factor)
        (changed,) = nodes_of(plan, Sample)
        assert changed == dataclasses.replace(sample, noise=dataclasses.replace(sample.noise, factor=factor))
        assert plan.notes.get("Noise multiplier") == (None if factor == 1 else "0.5")
