"""Prompts that are combined, confined and mixed, carried out: alone and beside other requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine import BadRequest, Engine, GenerationRequest, Region, Workflow
from engine.batching import trials as trials_module
from engine.formats.comfyui import api_workflow, request_of
from tests.requests import random_request, same, small

LEFT = Region(prompt="a red boat", width=64, height=64)
RIGHT = Region(prompt="a lighthouse", x=64, width=64, height=64, strength=2.0)


def regional(**parameters: Any) -> GenerationRequest:
    return small(**({"width": 128, "regions": (LEFT, RIGHT), "seed": 7} | parameters))


def graph(positive: Any, **nodes: Any) -> Workflow:
    """A request's graph whose sampler follows ``positive``, which is made by ``nodes``: class and inputs by id."""
    made: Any = api_workflow(small(seed=7), checkpoint_file="tiny.safetensors")
    made |= {id: {"class_type": class_type, "inputs": inputs} for id, (class_type, inputs) in nodes.items()}
    made["3"]["inputs"]["positive"] = positive
    return Workflow.from_comfyui(made)


def error(one: Any, other: Any) -> float:
    return float((one.latents - other.latents).norm() / other.latents.norm())


@pytest.mark.parametrize("unet_rows", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_regions_are_the_same_bytes_alone_and_beside_others(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, unet_rows: int
) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)
    engine = open_engine(unet_rows=unet_rows)
    requests = [
        regional(),
        regional(seed=8, cfg_scale=1.0),
        regional(seed=9, batch_size=3, sampler="dpmpp_2m"),
        regional(seed=10, regions=(RIGHT,), negative_prompt="blurry, " * 50),
        small(width=128, seed=11),
        *(random_request(seed) for seed in range(4)),
    ]
    alone = [engine.generate(request) for request in requests]
    together = [engine.submit(request) for request in requests]
    for handle, reference in zip(together, alone, strict=True):
        assert same(handle.result(120), reference)


def test_a_region_changes_the_picture_and_its_own_part_most(engine: Engine) -> None:
    plain, one = (engine.generate(regional(regions=regions)).latents for regions in ((), (LEFT,)))
    changed = (one - plain).abs().mean(dim=(0, 1, 2))
    assert changed[:8].mean() > 2 * changed[8:].mean() > 0


def test_a_region_as_large_as_the_picture_is_a_second_prompt_for_all_of_it(engine: Engine) -> None:
    whole = Region(prompt="a red boat", width=64, height=64)
    both = graph(
        ["22", 0],
        **{"21": ("CLIPTextEncode", {"text": "a red boat", "clip": ["4", 1]})},
        **{"22": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["21", 0]})},
    )
    assert error(engine.generate(small(seed=7, regions=(whole,))), engine.generate(both)) < 1e-5


def test_a_prompt_combined_with_itself_is_that_prompt(engine: Engine) -> None:
    twice = graph(
        ["20", 0], **{"20": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["6", 0]})}
    )
    assert error(engine.generate(twice), engine.generate(small(seed=7))) < 1e-5


def test_averages_end_at_either_prompt(engine: Engine) -> None:
    other = {"21": ("CLIPTextEncode", {"text": "night", "clip": ["4", 1]})}

    def mixed(share: float) -> Workflow:
        inputs = {"conditioning_to": ["6", 0], "conditioning_from": ["21", 0], "conditioning_to_strength": share}
        return graph(["20", 0], **other, **{"20": ("ConditioningAverage", inputs)})

    assert same(engine.generate(mixed(1.0)), engine.generate(small(seed=7)))
    assert same(engine.generate(mixed(0.0)), engine.generate(graph(["21", 0], **other)))
    assert not same(engine.generate(mixed(0.5)), engine.generate(mixed(1.0)))


def test_zeros_are_the_same_whatever_the_prompt(engine: Engine) -> None:
    def zeroed(text: str) -> Workflow:
        encode = {"21": ("CLIPTextEncode", {"text": text, "clip": ["4", 1]})}
        return graph(["20", 0], **encode, **{"20": ("ConditioningZeroOut", {"conditioning": ["21", 0]})})

    result = engine.generate(zeroed("night"), keep=[("20", 0)])
    assert not result.kept["20", 0].any()
    assert same(result, engine.generate(zeroed("day")))


def test_each_member_of_a_conditioning_is_kept(engine: Engine) -> None:
    made = graph(
        ["22", 0],
        **{"20": ("ConditioningConcat", {"conditioning_to": ["6", 0], "conditioning_from": ["7", 0]})},
        **{"22": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["20", 0]})},
    )
    first, second = engine.generate(made, keep=[("22", 0)]).kept["22", 0]
    assert (first.shape[1], second.shape[1]) == (77, 154)
    assert torch.equal(second[:, :77], first)


def test_ranges_take_turns_and_where_none_is_active_the_result_is_finite(engine: Engine) -> None:
    def confined(start: float, end: float) -> Workflow:
        inputs = {"conditioning": ["6", 0], "start": start, "end": end}
        return graph(["20", 0], **{"20": ("ConditioningSetTimestepRange", inputs)})

    whole = engine.generate(small(seed=7))
    assert same(engine.generate(confined(0.0, 1.0)), whole)
    for start, end in ((0.0, 0.4), (0.4, 1.0), (0.9, 0.1)):
        result = engine.generate(confined(start, end))
        assert torch.isfinite(result.latents).all()
        assert not same(result, whole)


@pytest.mark.parametrize(
    ("class_type", "inputs", "field"),
    [
        ("ConditioningSetArea", {"x": 64}, "workflow node 20 (ConditioningSetArea) x"),
        ("ConditioningSetArea", {"strength": 11}, "workflow node 20 (ConditioningSetArea) strength"),
        ("ConditioningSetArea", {"width": 32}, "workflow node 20 (ConditioningSetArea) width"),
        ("ConditioningSetAreaPercentage", {"y": 1.0}, "workflow node 20 (ConditioningSetAreaPercentage) y"),
        ("ConditioningSetAreaPercentage", {"y": "a"}, "workflow node 20 (ConditioningSetAreaPercentage) y"),
        ("ConditioningSetTimestepRange", {"end": 1.5}, "workflow node 20 (ConditioningSetTimestepRange) end"),
        ("ConditioningSetAreaStrength", {"strength": -1}, "workflow node 20 (ConditioningSetAreaStrength) strength"),
        ("ConditioningZeroOut", {"conditioning": ["4", 0]}, "workflow node 20 (ConditioningZeroOut) conditioning"),
    ],
)
def test_bad_input_names_node_and_field(engine: Engine, class_type: str, inputs: Any, field: str) -> None:
    defaults = {"x": 0, "y": 0, "width": 64, "height": 64, "start": 0.0, "end": 1.0, "strength": 1.0}
    if class_type == "ConditioningSetAreaPercentage":
        defaults |= {"width": 0.5, "height": 0.5}
    with pytest.raises(BadRequest) as caught:
        engine.generate(graph(["20", 0], **{"20": (class_type, {"conditioning": ["6", 0], **defaults, **inputs})}))
    assert caught.value.field == field


def test_a_regional_request_is_read_back_from_its_workflow() -> None:
    request = regional()
    assert request_of(request.workflow()) == request


def test_regions_with_another_text_encoder_are_no_plain_request() -> None:
    made: Any = api_workflow(regional(), checkpoint_file="tiny.safetensors")
    made["20"] = {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["4", 1], "stop_at_clip_layer": -2}}
    text = next(id for id, node in made.items() if node["inputs"].get("text") == RIGHT.prompt)
    made[text]["inputs"]["clip"] = ["20", 0]
    with pytest.raises(BadRequest) as caught:
        request_of(Workflow.from_comfyui(made))
    assert caught.value.field == "workflow node 20 (CLIPSetLastLayer) stop_at_clip_layer"


def masked(value: float, bounds: str = "default", strength: float = 1.0) -> Workflow:
    """The request's prompt, and another one beside it whose mask has one value everywhere."""
    mask = {"conditioning": ["21", 0], "mask": ["23", 0], "strength": strength, "set_cond_area": bounds}
    return graph(
        ["22", 0],
        **{"21": ("CLIPTextEncode", {"text": "a red boat", "clip": ["4", 1]})},
        **{"23": ("SolidMask", {"value": value, "width": 40, "height": 24})},
        **{"24": ("ConditioningSetMask", mask)},
        **{"22": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["24", 0]})},
    )


@pytest.mark.parametrize("bounds", ["default", "mask bounds"])
def test_a_prompt_counts_as_its_mask_says(engine: Engine, bounds: str) -> None:
    plain = engine.generate(small(seed=7))
    assert error(engine.generate(masked(0.0, bounds)), plain) < 1e-5
    whole = engine.generate(small(seed=7, regions=(Region(prompt="a red boat", width=64, height=64),)))
    assert error(engine.generate(masked(1.0, bounds)), whole) < 1e-5
    half, weak = engine.generate(masked(0.5, bounds)), engine.generate(masked(1.0, bounds, strength=0.5))
    assert error(half, weak) < 1e-5
    assert error(half, whole) > 1e-3


@pytest.mark.parametrize(
    ("name", "value"), [("set_cond_area", "bounds"), ("strength", 10.01), ("mask", ["6", 0]), ("mask", None)]
)
def test_a_wrong_mask_names_node_and_field(name: str, value: Any) -> None:
    inputs = {"conditioning": ["6", 0], "mask": ["23", 0], "strength": 1.0, "set_cond_area": "default", name: value}
    with pytest.raises(BadRequest) as caught:
        graph(
            ["24", 0],
            **{"23": ("SolidMask", {"value": 1, "width": 8, "height": 8})},
            **{"24": ("ConditioningSetMask", inputs)},
        )
    assert caught.value.field == f"workflow node 24 (ConditioningSetMask) {name}"


@pytest.mark.parametrize("name", ["missing", "a\0b", "../a", "x" * 5000])
def test_an_embedding_that_is_not_there_is_left_out_whatever_its_name(engine: Engine, name: str) -> None:
    plain = engine.generate(small(prompt="a cat"))
    assert same(engine.generate(small(prompt=f"a cat embedding:{name}")), plain)
