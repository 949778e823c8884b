"""A second pass and a refiner, as AUTOMATIC1111's calls ask for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine import BadRequest, GenerationRequest
from engine.formats.infotext.lines import Infotext
from engine.workflow.a1111 import RefinedGuider
from engine.workflow.encoding import Encode
from engine.workflow.latents import CropLatents, ResizeLatents
from engine.workflow.models import Checkpoint, WithLora
from engine.workflow.needs import needs_of, steps_of
from engine.workflow.pictures import Decode
from engine.workflow.sampling import NoNoise, Sample
from engine.workflow.text import EncodeA1111Text
from engine.workflow.upscaling import UpscalerFile
from server.dialects.sdapi.plan import infotexts_of
from server.problems import Problem
from tests.server.dialects.sdapi.plans import Stocked, nodes_of, txt2img_plan


def size_of(plan: Any) -> tuple[int, int]:
    (output,) = plan.wanted[0].outputs.values()
    return needs_of(plan.wanted[0]).pictures(output).pixels


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (128, 128)),
        ({"hr_scale": 1.6}, (96, 96)),
        ({"hr_resize_x": 96}, (96, 96)),
        ({"hr_resize_y": 130}, (128, 128)),
        ({"hr_resize_x": 96, "hr_resize_y": 128}, (96, 128)),
    ],
)
@pytest.mark.parametrize("upscaler", ["Latent", "Latent (antialiased)", "None", "Nearest", "4x-sharp"])
def test_the_second_pass_has_the_size_that_is_asked_for(
    fields: dict[str, Any], size: tuple[int, int], upscaler: str
) -> None:
    plan = txt2img_plan(enable_hr=True, hr_upscaler=upscaler, **fields)
    assert size_of(plan) == size
    assert bool(nodes_of(plan, CropLatents)) == (len(fields) == 2)
    assert bool(nodes_of(plan, ResizeLatents)) == upscaler.startswith("Latent") == (not nodes_of(plan, Encode))
    assert [each.name for each in nodes_of(plan, UpscalerFile)] == ["4x-sharp.pth"] * (upscaler == "4x-sharp")


def test_it_has_the_first_ones_parameters_or_its_own() -> None:
    shared = {"enable_hr": True, "steps": 9, "denoising_strength": 0.3, "prompt": "a", "negative_prompt": "b"}
    first, second = nodes_of(txt2img_plan(**shared), Sample)
    assert (first.sampler, first.noise, first.guider.model) == (second.sampler, second.noise, second.guider.model)
    assert second.guider.positive == dataclasses.replace(first.guider.positive, before=9)
    assert second.guider.cfg_scale == first.guider.cfg_scale
    assert (steps_of(first.sigmas), steps_of(second.sigmas), second.sigmas.denoise) == (9, 9, 0.3)
    own = {
        "hr_sampler_name": "DPM++ 2M", "hr_scheduler": "Exponential", "hr_second_pass_steps": 4, "hr_cfg": 2,
        "hr_prompt": "c", "hr_negative_prompt": "d", "hr_checkpoint_name": "other",
    }  # fmt: skip
    plan = txt2img_plan(**shared, **own)
    first, second = nodes_of(plan, Sample)
    assert (first.sampler.name, second.sampler.name, second.sigmas.scheduler) == ("euler", "dpmpp_2m", "exponential")
    assert (steps_of(second.sigmas), second.guider.cfg_scale, second.guider.model) == (4, 2, Checkpoint(name="other"))
    assert {each.text for each in nodes_of(plan, EncodeA1111Text)} == {"a", "b", "c", "d"}
    said = {"Hires steps": "4", "Hires sampler": "DPM++ 2M", "Hires schedule type": "Exponential"}
    assert said.items() <= Infotext.of(infotexts_of(plan, Stocked())[0]).pairs.items()


def test_same_is_the_first_ones() -> None:
    same = {
        "hr_sampler_name": "Use same sampler",
        "hr_scheduler": "Use same scheduler",
        "hr_checkpoint_name": "Use same checkpoint",
    }
    assert txt2img_plan(enable_hr=True, **same).wanted == txt2img_plan(enable_hr=True).wanted


def test_a_refiner_ends_the_sampling() -> None:
    plan = txt2img_plan(refiner_checkpoint="other", refiner_switch_at=0.5, steps=10)
    first, last = nodes_of(plan, Sample)
    assert (first.guider.model, last.guider.model) == (Checkpoint(name="instant"), Checkpoint(name="other"))
    assert isinstance(last.noise, NoNoise)
    assert last.latents == first
    assert steps_of(first.sigmas) + steps_of(last.sigmas) == 10
    assert plan.notes["Refiner switch at"] == "0.5"


def test_automatic1111s_refiner_takes_over_within_the_last_sampling() -> None:
    wanted: dict[str, Any] = {"refiner_checkpoint": "other", "refiner_switch_at": 0.5, "steps": 10, "program": "a1111"}
    (request,) = txt2img_plan(**wanted).wanted
    assert isinstance(request, GenerationRequest)
    (only,) = (node for node in request.workflow().nodes if isinstance(node, Sample))
    assert isinstance(only.guider, RefinedGuider)
    assert only.guider.share == 0.5
    plan = txt2img_plan(**wanted, enable_hr=True)
    first, second = nodes_of(plan, Sample)
    assert not isinstance(first.guider, RefinedGuider)
    assert isinstance(second.guider, RefinedGuider)
    (decode,) = nodes_of(plan, Decode)
    assert decode.vae == Checkpoint(name="other")


def test_automatic1111_leaves_out_loras_that_are_not_there() -> None:
    prompts = {"prompt": "a <lora:none:1> <lora:ink:0.5>", "hr_prompt": "b <lora:none:1>", "enable_hr": True}
    plan = txt2img_plan("a1111", **prompts)
    assert {each.text for each in nodes_of(plan, EncodeA1111Text)} == {"a", "b", ""}
    assert {each.name for each in nodes_of(plan, WithLora)} == {"ink"}
    assert "<lora:none:1>" in txt2img_plan(prompt="<lora:none:1>").first.prompt


@pytest.mark.parametrize("share", [None, 0, 1])
def test_without_a_moment_there_is_no_refiner(share: float | None) -> None:
    plan = txt2img_plan(refiner_checkpoint="other", refiner_switch_at=share)
    assert plan.wanted == txt2img_plan().wanted


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hr_upscaler": "LDSR"}, "hr_upscaler"),
        ({"hr_upscaler": "Latent (smooth)"}, "hr_upscaler"),
        ({"hr_scale": 0.5}, "hr_scale"),
        ({"hr_resize_x": -8}, "hr_resize_x"),
        ({"hr_sampler_name": "PLMS"}, "hr_sampler_name"),
        ({"hr_scheduler": "Align Your Steps"}, "hr_scheduler"),
        ({"hr_checkpoint_name": "none such"}, "hr_checkpoint_name"),
        ({"denoising_strength": 1.5}, "denoising_strength"),
        ({"refiner_checkpoint": "none such", "refiner_switch_at": 0.5}, "refiner_checkpoint"),
        ({"refiner_checkpoint": "other", "refiner_switch_at": 2}, "refiner_switch_at"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises((Problem, BadRequest)) as error:
        txt2img_plan(enable_hr=True, **fields)
    assert error.value.field == named
