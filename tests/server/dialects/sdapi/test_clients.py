"""Runs the clients of AUTOMATIC1111's API: ``webuiapi`` itself, and the calls that Open WebUI and SillyTavern make."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import webuiapi
from PIL import Image

from engine.formats.png import request_from_png
from server.job import parameters

PATIENCE = 60.0


@pytest.fixture
def api(server: Any) -> Iterator[Any]:
    client = webuiapi.WebUIApi(baseurl=f"{server.url}/sdapi/v1")
    yield client
    client.session.close()


class TestWebuiapi:
    def test_with_its_own_defaults(self, api: Any) -> None:
        result = api.txt2img(prompt="a cat", negative_prompt="dogs")
        assert result.image.size == (512, 512)
        assert result.info["sampler_name"] == "Euler a"
        assert result.info["steps"] == 20
        assert result.info["all_seeds"] == [result.info["seed"]]
        assert result.parameters["prompt"] == "a cat"
        assert result.image.info["parameters"] == result.info["infotexts"][0]

    def test_seeds_and_batches(self, api: Any) -> None:
        result = api.txt2img(prompt="a cat", seed=0, batch_size=2, n_iter=2, width=64, height=64)
        assert len(result.images) == 4
        assert result.info["all_seeds"] == [0, 1, 2, 3]
        alone = api.txt2img(prompt="a cat", seed=3, width=64, height=64)
        assert alone.image.tobytes() == result.images[3].tobytes()

    def test_its_other_samplers(self, api: Any) -> None:
        for name in api.util_get_sampler_names():
            eta = 0 if name in ("DDIM", "DPM fast", "DPM adaptive") else 1.0
            assert api.txt2img(sampler_name=name, eta=eta, steps=1).info["sampler_name"] == name
        for name in api.util_get_scheduler_names():
            api.txt2img(scheduler=name, steps=1)

    def test_models(self, api: Any) -> None:
        titles = api.util_get_model_names()
        assert api.util_get_current_model() == titles[0]
        api.util_set_model("othr")  # it looks for the nearest itself
        assert api.util_get_current_model() == titles[1]
        assert api.txt2img(steps=1).info["sd_model_name"] == "other"

    def test_its_lists(self, api: Any) -> None:
        assert api.get_sd_vae() == api.get_loras() == api.get_hypernetworks() == []
        assert api.get_latent_upscale_modes()[0]["name"] == "Latent"
        assert api.get_face_restorers() == api.get_realesrgan_models() == api.get_prompt_styles() == []
        assert api.get_scripts()["txt2img"] == ["controlnet"]
        assert api.controlnet_model_list() == []
        assert "canny" in api.controlnet_module_list()
        assert api.controlnet_version() > 1
        assert api.get_embeddings()["loaded"] == {}
        assert api.get_memory()["ram"]["total"] > 0
        assert api.get_cmd_flags()["api"]
        assert api.get_upscalers()[0]["name"] == "None"
        assert api.refresh_checkpoints() is None
        assert [api.has_controlnet, api.has_adetailer, api.has_animatediff] == [False] * 3

    def test_progress_and_interrupt(self, server: Any, api: Any) -> None:
        api.util_wait_for_ready(check_interval=0.01)
        server.backend.step_seconds = 0.05
        with ThreadPoolExecutor() as pool:
            call = pool.submit(api.txt2img, prompt="a cat", steps=1000)
            end = time.monotonic() + PATIENCE
            while api.get_progress()["current_image"] is None:
                assert time.monotonic() < end
            assert 0 < api.get_progress()["progress"] < 1
            assert api.interrupt() == {}
            assert call.result(PATIENCE).images == []
        server.backend.step_seconds = 0
        assert api.skip() is None
        api.util_wait_for_ready(check_interval=0.01)

    def test_options(self, api: Any) -> None:
        api.set_options({"CLIP_stop_at_last_layers": 2})
        assert api.get_options()["CLIP_stop_at_last_layers"] == 2

    @pytest.mark.parametrize(
        "fields",
        [
            {"hr_upscaler": "LDSR", "enable_hr": True},
            {"styles": ["x"]},
            {"s_noise": 1e30, "sampler_name": "Euler a"},
            {"adetailer": [webuiapi.ADetailer()]},
            {"controlnet_units": [webuiapi.ControlNetUnit()]},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    def test_what_cannot_be_had(self, api: Any, fields: dict[str, Any]) -> None:
        with pytest.raises(RuntimeError, match=r"422.*(not supported|not allowed)"):
            api.txt2img(prompt="a cat", alwayson_scripts={}, **fields)

    def test_img2img(self, api: Any) -> None:
        image = Image.new("RGB", (96, 64), (200, 30, 40))
        result = api.img2img(images=[image], prompt="a cat", seed=5, width=64, height=64, batch_size=2)
        assert [each.size for each in result.images] == [(64, 64)] * 2
        assert result.info["all_seeds"] == [5, 6]
        assert result.info["denoising_strength"] == 0.75
        assert result.info["sd_model_name"] == "instant"
        assert "Denoising strength: 0.75" in result.image.info["parameters"]

    def test_inpaint(self, api: Any) -> None:
        image, mask = Image.new("RGB", (96, 64), (200, 30, 40)), Image.new("L", (96, 64))
        mask.paste(255, (40, 20, 60, 40))
        whole = api.img2img([image], mask_image=mask, width=64, height=64, inpaint_full_res=False)
        assert whole.image.size == (64, 64)
        part = api.img2img([image], mask_image=mask, width=64, height=64, inpaint_full_res_padding=8, mask_blur=2)
        assert part.image.size == (96, 64)
        assert "Masked area padding: 8" in part.info["infotexts"][0]

    def test_extras(self, api: Any) -> None:
        image = Image.new("RGB", (40, 24), (200, 30, 40))
        assert api.extra_single_image(image, upscaler_1="Lanczos", upscaling_resize=1.5).image.size == (60, 36)
        result = api.extra_batch_images([image, image.rotate(90, expand=True)], resize_mode=1, upscaling_resize_w=64)
        assert [each.size for each in result.images] == [(64, 512)] * 2
        mixed = api.extra_single_image(image, upscaler_2="Nearest", extras_upscaler_2_visibility=0.5)
        assert mixed.image.size == (80, 48)
        for fields in ({"upscaler_1": "LDSR"}, {"gfpgan_visibility": 0.5}):
            with pytest.raises(RuntimeError, match=next(iter(fields))):
                api.extra_single_image(image, **fields)

    def test_hires(self, api: Any) -> None:
        for fields in ({}, {"hr_upscaler": "Lanczos"}, {"hr_resize_x": 96, "hr_prompt": "a dog"}):
            result = api.txt2img(prompt="a cat", width=64, height=64, enable_hr=True, **fields)
            assert result.image.size == ((96, 96) if fields.get("hr_resize_x") else (128, 128))
            assert result.info["width"] == 64

    def test_with_a_password(self, server: Any) -> None:
        client = webuiapi.WebUIApi(baseurl=f"{server.url}/sdapi/v1", username="user", password="password")
        assert client.txt2img(steps=1).image.size == (512, 512)
        client.session.close()


def test_as_open_webui_does(client: httpx.Client) -> None:
    auth = {"authorization": "Basic " + base64.b64encode(b"user:password").decode()}
    options = client.get("/sdapi/v1/options", headers=auth).json()
    models = [(each["title"], each["model_name"]) for each in client.get("/sdapi/v1/sd-models", headers=auth).json()]
    options["sd_model_checkpoint"] = models[1][0]
    client.post("/sdapi/v1/options", json=options, headers=auth).raise_for_status()
    assert client.get("/sdapi/v1/options", headers=auth).json()["sd_model_checkpoint"] == models[1][0]
    body = {
        "prompt": "a cat", "batch_size": 2, "width": 64, "height": 64, "steps": 3, "negative_prompt": "",
        "sampler_name": "DPM++ 2M", "scheduler": "Karras", "cfg_scale": 7,
    }  # fmt: skip
    answer = client.post("/sdapi/v1/txt2img", json=body, headers=auth).json()
    assert len(answer["images"]) == 2
    assert json.loads(answer["info"])["sd_model_name"] == models[1][1]


def test_as_sillytavern_does(client: httpx.Client) -> None:
    names = {
        path: [each["name"] for each in client.get(f"/sdapi/v1/{path}").json()]
        for path in ("upscalers", "latent-upscale-modes", "samplers", "schedulers")
    }
    assert names["upscalers"][0] == "None"
    assert "forge_preset" not in client.get("/sdapi/v1/options").json()
    model = client.get("/sdapi/v1/sd-models").json()[1]["title"]
    client.post("/sdapi/v1/options", json={"sd_model_checkpoint": model}).raise_for_status()
    found = client.get("/sdapi/v1/progress").json()
    assert (found["progress"], found["state"]["job_count"]) == (0, 0)
    body = {
        "url": str(client.base_url),
        "auth": "user:password",
        "prompt": "best quality, 1girl, (smile:1.1)",
        "negative_prompt": "lowres, [blurry]",
        "sampler_name": names["samplers"][1],
        "scheduler": names["schedulers"][0],
        "steps": 3,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 1,
        "hr_additional_modules": [],
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "forge_additional_modules": []},
        "override_settings_restore_afterwards": True,
        "clip_skip": 2,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }
    answer = client.post("/sdapi/v1/txt2img", json=body).json()
    made = request_from_png(base64.b64decode(answer["images"][0]))
    assert (made.clip_skip, made.sampler, made.model) == (2, "euler_cfg_pp", "other.safetensors")
    assert made.a1111 is not None
    assert made.prompt == body["prompt"]
    assert made.negative_prompt == "lowres, [blurry]"


def test_the_real_engines_picture_is_the_native_apis(engine_server: Any) -> None:
    with httpx.Client(base_url=engine_server.url, timeout=300) as client:
        body = {
            "prompt": "a (purple:1.3) [bottle]", "negative_prompt": "text", "seed": 5, "steps": 3, "cfg_scale": 6,
            "width": 64, "height": 64, "sampler_name": "DPM++ 2M Karras", "batch_size": 2,
        }  # fmt: skip
        answer = client.post("/sdapi/v1/txt2img", json=body).json()
        pictures = [base64.b64decode(image) for image in answer["images"]]
        for png, seed in zip(pictures, (5, 6), strict=True):
            made = request_from_png(png)
            assert made.seed == seed
            native = parameters(made) | {"response_format": "png"}
            response = client.post("/api/v1/generate", json=native)
            assert response.status_code == 200, response.text
            assert response.content == png
