"""The body of ``POST txt2img`` becomes requests, or is refused by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine import BadRequest, GenerationRequest
from engine.formats.infotext import SAMPLER_LABELS, SCHEDULER_LABELS, infotext
from engine.request import SAMPLERS
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.options import Chosen
from server.dialects.sdapi.request import DRAWN_SEEDS, requests_of
from server.problems import Problem


def requests(**fields: Any) -> tuple[GenerationRequest, ...]:
    return requests_of(Txt2Img(**fields), override=Chosen(), defaults=Chosen(clip_skip=1), most=64)


def request(**fields: Any) -> GenerationRequest:
    (only,) = requests(**fields)
    return only


def refused(**fields: Any) -> Problem | BadRequest:
    with pytest.raises((Problem, BadRequest)) as error:
        requests(**fields)
    return error.value


def test_the_defaults_are_automatic1111s() -> None:
    made = request()
    assert made.seed is not None
    assert 0 <= made.seed < DRAWN_SEEDS
    assert made == GenerationRequest(
        prompt="", negative_prompt="", prompt_syntax="a1111", steps=50, cfg_scale=7, width=512, height=512,
        sampler="euler", scheduler="normal", seed=made.seed,
    )  # fmt: skip


def test_null_is_the_default() -> None:
    fields: dict[str, Any] = dict.fromkeys(Txt2Img.model_fields)
    assert request(**fields | {"seed": 1}) == request(seed=1)


def test_each_picture_is_a_request_of_its_own_with_the_next_seed() -> None:
    made = requests(seed=7, batch_size=2, n_iter=3, prompt="x")
    assert [each.seed for each in made] == [7, 8, 9, 10, 11, 12]
    assert {each.batch_size for each in made} == {1}
    assert {each.prompt for each in made} == {"x"}


def test_seeds_go_round_at_the_end_and_0_is_one() -> None:
    assert [each.seed for each in requests(seed=2**64 - 1, batch_size=2)] == [2**64 - 1, 0]
    assert request(seed=0).seed == 0


def test_drawn_seeds_differ_and_follow_each_other() -> None:
    one, other = requests(seed=-1, batch_size=2), requests(batch_size=2)
    assert one[0].seed != other[0].seed
    for first, second in (one, other):
        assert first.seed is not None
        assert second.seed == first.seed + 1


@pytest.mark.parametrize(
    ("fields", "sampler", "scheduler"),
    [
        ({"sampler_name": "Euler a"}, "euler_ancestral", "normal"),
        ({"sampler_name": "DPM++ 2M"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "automatic"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": ""}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}, "dpmpp_2m", "normal"),
        ({"sampler_name": "DPM++ 2M Karras"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "Automatic"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "karras"}, "dpmpp_2m", "karras"),
        ({"sampler_name": "DPM++ 2M SDE Exponential"}, "dpmpp_2m_sde", "exponential"),
        ({"sampler_name": "DPM++ 3M SDE"}, "dpmpp_3m_sde", "exponential"),
        ({"sampler_name": "Euler", "scheduler": "SGM Uniform"}, "euler", "sgm_uniform"),
        ({"sampler_name": "k_euler_a"}, "euler_ancestral", "normal"),
        ({"sampler_name": "dpmpp_2m", "scheduler": "exponential"}, "dpmpp_2m", "exponential"),
        ({"sampler_name": "uni_pc", "scheduler": "karras"}, "uni_pc", "normal"),
        ({"sampler_name": "DDIM", "scheduler": "Karras"}, "ddim", "ddim_uniform"),
        ({"sampler_index": "Heun"}, "heun", "normal"),
        ({"sampler_index": "Heun", "sampler_name": "LMS"}, "lms", "normal"),
        ({"sampler_index": "Heun", "sampler_name": ""}, "heun", "normal"),
    ],
)
def test_labels(fields: dict[str, Any], sampler: str, scheduler: str) -> None:
    made = request(**fields)
    assert (made.sampler, made.scheduler) == (sampler, scheduler)


@pytest.mark.parametrize("label", SAMPLER_LABELS.values())
def test_every_sampler_that_is_listed_is_taken(label: str) -> None:
    assert SAMPLER_LABELS[request(sampler_name=label).sampler] == label


@pytest.mark.parametrize("label", SCHEDULER_LABELS.values())
def test_every_scheduler_that_is_listed_is_taken(label: str) -> None:
    assert SCHEDULER_LABELS[request(scheduler=label).scheduler] == label


NEUTRAL: list[dict[str, Any]] = [
    {
        "denoising_strength": 0.3,
        "hr_scale": 4,
        "hr_upscaler": "Latent",
        "hr_prompt": "x",
        "hr_additional_modules": ["x"],
    },
    {"subseed": 12, "subseed_strength": 0},
    {"seed_resize_from_h": 0, "seed_resize_from_w": 0},
    {"seed_resize_from_h": 512, "seed_resize_from_w": -1},
    {"styles": []},
    {"styles": ["None", ""]},
    {"restore_faces": False, "tiling": False, "enable_hr": False},
    {"eta": 0.0},
    {"eta": 0.4, "sampler_name": "DPM++ 2M", "scheduler": "Uniform"},
    {"s_churn": 0, "s_tmin": 0.1, "s_tmax": 5, "s_noise": 1, "s_min_uncond": 0},
    {"script_name": "", "script_args": [1, 2]},
    {"script_name": "None"},
    {"alwayson_scripts": {"ControlNet": {"args": []}, "ADetailer": {"args": [False]}, "Sampler": {}}},
    {"alwayson_scripts": {"ControlNet": {"args": [{"enabled": False, "model": "x"}]}}},
    {"alwayson_scripts": {"ADetailer": {"args": [False, True, {"ad_model": "face.pt"}]}}},
    {"refiner_checkpoint": "None", "refiner_switch_at": 0.8},
    {"token_merging_ratio": 0, "disable_extra_networks": False},
    {"do_not_save_samples": True, "do_not_save_grid": True, "save_images": True, "send_images": False},
    {"url": "http://there", "auth": "user:password", "clip_skip": 1},
    {"init_images": [], "mask": None, "nothing": False},
    {"comments": {"a": 1}, "force_task_id": "task(1)"},
]


@pytest.mark.parametrize("fields", NEUTRAL, ids=",".join)
def test_what_changes_nothing_there_changes_nothing_here(fields: dict[str, Any]) -> None:
    made = request(seed=1, prompt="x", **fields)
    sampler = {"sampler": "dpmpp_2m"} if "sampler_name" in fields else {}
    expected = GenerationRequest(prompt="x", negative_prompt="", steps=50, cfg_scale=7, seed=1, **sampler)
    assert made == dataclasses.replace(expected, prompt_syntax="a1111")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"disable_extra_networks": True}, "disable_extra_networks"),
    ({"tiling": True}, "tiling"),
    ({"restore_faces": True}, "restore_faces"),
    ({"subseed_strength": 0.1}, "subseed_strength"),
    ({"seed_resize_from_h": 512, "seed_resize_from_w": 512}, "seed_resize_from_h"),
    ({"styles": ["cinematic"]}, "styles"),
    ({"s_churn": 0.5}, "s_churn"),
    ({"s_noise": 1.1}, "s_noise"),
    ({"s_min_uncond": 1}, "s_min_uncond"),
    ({"token_merging_ratio": 0.5}, "token_merging_ratio"),
    ({"script_name": "X/Y/Z plot"}, "script_name"),
    ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, "alwayson_scripts.ADetailer"),
    ({"alwayson_scripts": {"Seed": 7}}, "alwayson_scripts.Seed"),
    ({"eta": 1, "sampler_name": "DDIM"}, "eta"),
    ({"eta": 0, "sampler_name": "Euler a"}, "eta"),
    ({"eta": 1, "sampler_name": "DPM fast"}, "eta"),
    ({"sampler_name": "PLMS"}, "sampler_name"),
    ({"sampler_index": "Restart"}, "sampler_index"),
    ({"scheduler": "Align Your Steps"}, "scheduler"),
    ({"sampler_name": "DPM++ 2M Karras", "scheduler": "Exponential"}, "scheduler"),
    ({"width": 15}, "width"),
    ({"height": 0}, "height"),
    ({"steps": 0}, "steps"),
    ({"cfg_scale": -1}, "cfg_scale"),
    ({"seed": -2}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"batch_size": 0}, "batch_size"),
    ({"n_iter": -1}, "n_iter"),
    ({"batch_size": 10**12}, "batch_size"),
    ({"n_iter": 33, "batch_size": 2}, "n_iter"),
    ({"init_images": ["…"]}, "init_images"),
    ({"cfg": 0}, "cfg"),
    ({"num_inference_steps": 20}, "num_inference_steps"),
    ({"clip_skip": 99}, "clip_skip"),
    ({"clip_skip": 2, "override_settings": {"CLIP_stop_at_last_layers": 1}}, "clip_skip"),
    ({"infotext": "no parameters"}, "infotext"),
    ({"infotext": "x\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Tiling: True"}, "infotext Tiling"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED, ids=[f"{name}-{n}" for n, (_, name) in enumerate(REFUSED)])
def test_what_would_change_the_picture_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    error = refused(**fields)
    assert error.field == named
    assert str(error).startswith(f"{named}: ")
    assert "expected " in str(error)


def test_prompts_are_passed_on_in_their_own_language_without_comments() -> None:
    made = request(prompt="[a|b] AND c <lora:ink:0.5> # d", negative_prompt="(e)\n#f")
    assert (made.prompt, made.negative_prompt) == ("[a|b] AND c <lora:ink:0.5> ", "(e)")
    assert made.prompt_syntax == "a1111"


def test_clip_skip_of_other_programs_counts() -> None:
    assert request(clip_skip=2).clip_skip == 2
    assert request(clip_skip=2, override_settings={"CLIP_stop_at_last_layers": 2}).clip_skip == 2


def test_the_override_settings_go_before_the_defaults_of_the_server() -> None:
    defaults = Chosen(model="b", clip_skip=2, vae="c.pt")
    (one,) = requests_of(Txt2Img(), override=Chosen(model="a", clip_skip=3, vae=""), defaults=defaults, most=1)
    (other,) = requests_of(Txt2Img(), override=Chosen(), defaults=defaults, most=1)
    assert (one.model, one.clip_skip, one.vae) == ("a", 3, None)
    assert (other.model, other.clip_skip, other.vae) == ("b", 2, "c.pt")


@pytest.mark.parametrize(("given", "used"), [(513, 512), (100, 96), (70, 64), (16, 16)])
def test_sizes_are_rounded_down(given: int, used: int) -> None:
    made = request(width=given, height=given)
    assert (made.width, made.height) == (used, used)


def test_an_infotext_stands_for_the_fields_that_are_not_given() -> None:
    made = GenerationRequest(
        prompt="a ((cat:1.3))", negative_prompt="", steps=9, cfg_scale=3, width=64, sampler="ddim", scheduler="karras",
        seed=11, clip_skip=2, denoise=0.5, model="starter",
    )  # fmt: skip
    text = infotext(made, model_name="starter", model_hash=None)
    assert request(infotext=text) == made
    assert request(infotext=text, steps=4, seed=-1).seed != 11
    assert request(infotext=text, prompt="x", sampler_name="LMS", scheduler="Uniform") == GenerationRequest(
        prompt="x", negative_prompt="", prompt_syntax="a1111", steps=9, cfg_scale=3, width=64, sampler="lms",
        scheduler="normal", seed=11, clip_skip=2, denoise=0.5, model="starter",
    )  # fmt: skip


def test_a_prompt_in_another_language_than_the_infotexts_other_one_is_refused() -> None:
    text = infotext(GenerationRequest(prompt="a", negative_prompt="b", seed=1), model_name="m", model_hash=None)
    assert refused(infotext=text, prompt="[x|y]").field == "prompt"
    assert request(infotext=text, prompt="[x|y]", negative_prompt="z").prompt_syntax == "a1111"


def test_an_infotext_of_automatic1111_is_read_in_its_syntax() -> None:
    text = "a [cat]\nNegative prompt: b\nSteps: 2, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 64x128"
    made = request(infotext=text)
    assert (made.prompt, made.prompt_syntax) == ("a [cat]", "a1111")
    assert made.a1111 is not None
    assert (made.sampler, made.a1111.schedule, made.seed, made.height) == ("dpmpp_2m", "karras", 5, 128)


def test_each_sampler_with_the_eta_that_webuiapi_sends_is_taken_or_named() -> None:
    """1.0 is what webuiapi sends with every sampler."""
    taken = [name for name in SAMPLERS if not raises_eta(SAMPLER_LABELS[name])]
    assert set(SAMPLERS) - set(taken) == {"ddim", "dpm_fast", "dpm_adaptive"}


def raises_eta(label: str) -> bool:
    try:
        request(sampler_name=label, eta=1.0)
    except Problem as problem:
        assert problem.field == "eta"
        return True
    return False
