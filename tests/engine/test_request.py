"""Requests: defaults, ranges, and errors that name field, value and what is allowed."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import BadRequest, GenerationRequest, Region
from engine.parameters import from_json, to_json
from engine.request import SAMPLERS, SCHEDULERS
from engine.workflow.from_request import field_of
from engine.workflow.text import EncodeText

FIELDS = [field.name for field in dataclasses.fields(GenerationRequest)]


def test_the_defaults_are_the_workflow() -> None:
    assert dataclasses.asdict(GenerationRequest()) == {
        "prompt": "beautiful scenery nature glass bottle landscape, purple galaxy bottle",
        "negative_prompt": "text, watermark",
        "prompt_syntax": "comfyui",
        "width": 512,
        "height": 512,
        "batch_size": 1,
        "steps": 20,
        "cfg_scale": 8.0,
        "sampler": "euler",
        "scheduler": "normal",
        "seed": 802908303372950,
        "start_noise": "cpu",
        "step_noise": "cpu",
        "denoise": 1.0,
        "prompt_reading": None,
        "clip_skip": 1,
        "model": None,
        "loras": (),
        "vae": None,
        "image": None,
        "mask": None,
        "mask_mode": "noise",
        "controls": (),
        "regions": (),
        "hires": None,
        "upscale": None,
        "a1111": None,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", b"bytes"),
        ("prompt", "half a pair \ud800"),
        ("negative_prompt", 5),
        ("width", 8),
        ("width", 513),
        ("width", 16392),
        ("width", 512.0),
        ("height", -512),
        ("height", "512"),
        ("batch_size", 0),
        ("batch_size", True),
        ("steps", 0),
        ("steps", 10001),
        ("steps", None),
        ("cfg_scale", -0.1),
        ("cfg_scale", math.nan),
        ("cfg_scale", math.inf),
        ("cfg_scale", "8"),
        ("cfg_scale", 10**400),
        ("sampler", "euler_a"),
        ("sampler", None),
        ("scheduler", "Karras"),
        ("seed", 2**64),
        ("seed", -2),
        ("seed", 1.0),
        ("seed", "7"),
        ("denoise", 0),
        ("denoise", 1.01),
        ("clip_skip", 0),
        ("model", ""),
        ("model", 3),
        ("model", "\udcff"),
        ("model", "a\0b"),
    ],
)
def test_what_is_not_allowed_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        GenerationRequest(**{field: value})
    assert caught.value.field == field
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 16),
        ("height", 16384),
        ("steps", 1),
        ("cfg_scale", 0),
        ("seed", 0),
        ("seed", 2**64 - 1),
        ("prompt", ""),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(field: str, value: Any) -> None:
    assert getattr(GenerationRequest(**{field: value}), field) == value


def test_a_number_too_long_to_be_shown_is_refused_too() -> None:
    with pytest.raises(BadRequest, match="too long to be shown"):
        GenerationRequest(steps=10**5000)


def test_numpy_numbers_are_numbers() -> None:
    request = GenerationRequest(steps=numpy.int64(5), cfg_scale=numpy.float32(2.5))  # type: ignore[arg-type]
    assert (type(request.steps), request.steps, type(request.cfg_scale), request.cfg_scale) == (int, 5, float, 2.5)


def test_an_unknown_sampler_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadRequest, match="nearest: dpmpp_2m"):
        GenerationRequest(sampler="dpmpp2m")


@pytest.mark.parametrize("absent", [None, -1])
def test_an_absent_seed_is_drawn_anew_each_time(absent: int | None) -> None:
    request = GenerationRequest(seed=absent)
    assert request.seed is None
    seeds = {request.with_seed().seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(seed is not None and 0 <= seed < 2**53 - 4096 for seed in seeds)  # JavaScript counts on from them


REGION = Region(prompt="a boat", x=64, y=8, width=128, height=64)


@pytest.mark.parametrize(
    ("regions", "field"),
    [
        (REGION, "regions"),
        ([REGION, None], "regions[1]"),
        ([REGION] * 65, "regions"),
        ([dataclasses.replace(REGION, x=512)], "regions[0].x"),
        ([REGION, dataclasses.replace(REGION, y=1024)], "regions[1].y"),
    ],
)
def test_regions_that_are_none_or_lie_outside_the_picture_are_refused(regions: Any, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        GenerationRequest(regions=regions)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"), [("width", 56), ("height", 100), ("x", -8), ("strength", 10.5), ("prompt", None)]
)
def test_a_region_names_what_is_not_allowed(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        dataclasses.replace(REGION, **{field: value})
    assert caught.value.field == field


def test_a_mistake_in_a_regions_prompt_names_the_region() -> None:
    request = GenerationRequest(regions=(REGION, dataclasses.replace(REGION, prompt="a " * 2)))
    workflow = request.workflow()
    texts = {node.text: node for node in workflow.nodes if isinstance(node, EncodeText)}
    assert field_of(request, BadRequest("text", "", "", node=texts["a a "])) == "regions[1].prompt"
    assert field_of(request, BadRequest("text", "", "", node=texts[request.prompt])) == "prompt"


def test_a_request_with_regions_comes_back_from_json() -> None:
    request = GenerationRequest(regions=(REGION, dataclasses.replace(REGION, strength=0.5)))
    assert from_json(GenerationRequest, json.loads(json.dumps(to_json(request)))) == request
    with pytest.raises(BadRequest) as caught:
        from_json(GenerationRequest, {"regions": [{"prompt": "a", "width": 64}]})
    assert caught.value.field == "regions[0].height"


def test_seed_0_is_a_seed() -> None:
    assert GenerationRequest(seed=0).with_seed().seed == 0


@given(st.dictionaries(st.sampled_from(FIELDS), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_any_values_give_a_request_or_our_own_error(values: dict[str, Any]) -> None:
    try:
        request = GenerationRequest(**values)
    except BadRequest as error:
        assert error.field in values
    else:
        assert request.sampler in SAMPLERS
        assert request.scheduler in SCHEDULERS
        assert dataclasses.replace(request) == request
