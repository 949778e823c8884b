"""The units of AUTOMATIC1111's ControlNet extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from engine.workflow.composing import WeightedPrompt
from engine.workflow.controls import Controlled
from engine.workflow.editing import BlurPictures, InvertPictures, MaskPictures
from engine.workflow.preprocessing import Hollowed, Lightness, LineArt, ScribbleOfDifferences, SharpEdges
from engine.workflow.sampling import Sample
from server.backends.instant import InstantBackend
from server.problems import Problem
from tests.server.conftest import RunningServer
from tests.server.dialects.sdapi.plans import base64_of, controlled_plan, nodes_of

IMAGE = Image.linear_gradient("L").resize((96, 80)).convert("RGB")
MODEL = "control_canny [d14c016b]"
MADE = (SharpEdges, InvertPictures, MaskPictures, ScribbleOfDifferences, LineArt, Lightness, BlurPictures)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("none", None),
        ("canny", SharpEdges),
        ("scribble_xdog", ScribbleOfDifferences),
        ("lineart_standard (from white bg & black line)", LineArt),
        ("color", None),
        ("recolor_luminance", Lightness),
        ("recolor_intensity", Lightness),
        ("blur_gaussian", BlurPictures),
        ("invert (from white bg & black line)", InvertPictures),
        ("threshold", MaskPictures),
        ("tile_resample", None),
    ],
)
@pytest.mark.parametrize("mode", [0, "Crop and Resize", "Resize and Fill"])
def test_both_prompts_are_steered_by_what_the_module_makes(module: str, kind: Any, mode: Any) -> None:
    unit = {"model": MODEL, "module": module, "weight": 0.7, "guidance_end": 0.5, "resize_mode": mode, "image": "…"}
    plan = controlled_plan(IMAGE, unit, prompt="a cat")
    controls = nodes_of(plan, Controlled)
    assert len(controls) == 2
    for control in controls:
        assert (control.network.name, control.strength, control.end) == ("control_canny.safetensors", 0.7, 0.5)
    found = {each for each in MADE if nodes_of(plan, each)}
    assert found == ({kind} if kind else set())
    assert f"Module: {module.split()[0]}, Model: control_canny" in plan.notes["ControlNet 0"]


@pytest.mark.parametrize(
    ("mode", "said", "softly", "controls"),
    [
        (None, "Balanced", False, 2),
        (0, "Balanced", False, 2),
        ("ControlMode.PROMPT", "My prompt is more important", True, 2),
        ("My prompt is more important", "My prompt is more important", True, 2),
        (2, "ControlNet is more important", True, 1),
        ("ControlNet is more important", "ControlNet is more important", True, 1),
    ],
)
@pytest.mark.parametrize("prompts", [("a cat", "a dog"), ("", ""), ("a cat AND a hat :0.5", "")])
def test_control_modes(mode: Any, said: str, softly: bool, controls: int, prompts: tuple[str, str]) -> None:
    """Where the network is more important, the negative prompt is as it would be without it."""
    unit = {"model": MODEL, "image": "…"} | ({} if mode is None else {"control_mode": mode})
    asked = dict(zip(("prompt", "negative_prompt"), prompts, strict=True))
    plan = controlled_plan(IMAGE, unit, **asked)
    made = nodes_of(plan, Controlled)
    assert {each.softly for each in made} == {softly}
    (sample,) = nodes_of(plan, Sample)
    assert isinstance(sample.guider.negative, Controlled) == (controls == 2)
    assert all(isinstance(each, Controlled) for each in _prompts(sample.guider.positive))
    assert plan.notes["ControlNet 0"].endswith(f"Control Mode: {said}")


def _prompts(positive: Any) -> list[Any]:
    """The prompts that guidance follows."""
    if not isinstance(positive, WeightedPrompt):
        return [positive]
    return [positive.conditioning, *(_prompts(positive.before) if positive.before is not None else [])]


@pytest.mark.parametrize(
    ("given", "low", "high", "resolution"),
    [
        ({}, 100, 200, 512),
        ({"threshold_a": 30, "threshold_b": 250, "processor_res": 600}, 30, 250, 600),
        ({"threshold_a": -1, "processor_res": 0}, 100, 200, 512),
        ({"pixel_perfect": True}, 100, 200, 64),
        ({"pixel_perfect": True, "resize_mode": "Just Resize"}, 100, 200, 64),
    ],
)
def test_canny_has_the_extensions_thresholds(given: dict[str, Any], low: int, high: int, resolution: int) -> None:
    (edges,) = nodes_of(controlled_plan(IMAGE, {"model": MODEL, "module": "canny", **given}), SharpEdges)
    assert (edges.low_threshold, edges.high_threshold, edges.resolution) == (low, high, resolution)


def test_every_module_that_is_listed_is_carried_out(open_server: Callable[..., RunningServer]) -> None:
    server = open_server(InstantBackend(more_files={"controlnet": ("control_canny.safetensors",)}))
    picture, mask = base64_of(IMAGE), base64_of(Image.new("RGB", (40, 40), "white"))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        listed = client.get("/controlnet/module_list", params={"alias_names": True}).json()
        assert listed["module_detail"].keys() == set(listed["module_list"])
        for module in listed["module_list"]:
            unit = {"model": MODEL, "module": module, "image": picture, "processor_res": 128}
            unit |= {"mask": mask} if "inpaint" in module else {}
            body = {"alwayson_scripts": {"controlnet": {"args": [unit]}}, "width": 64, "height": 64, "steps": 2}
            answer = client.post("/sdapi/v1/txt2img", json=body)
            assert answer.status_code == 200, answer.text
    holes = [node for node in server.backend.started[-1].nodes if isinstance(node, Hollowed)]
    assert [hole.black for hole in holes] == [False]


@pytest.mark.parametrize(("option", "steered"), [("Both", [2, 2]), ("Low res only", [2, 0]), ("High res only", [0, 2])])
def test_a_unit_may_steer_one_pass_alone(option: str, steered: list[int]) -> None:
    plan = controlled_plan(IMAGE, {"model": MODEL, "hr_option": option, "image": "…"}, prompt="a", enable_hr=True)
    prompts = [(each.guider.positive, each.guider.negative) for each in nodes_of(plan, Sample)]
    assert [sum(isinstance(each, Controlled) for each in pair) for pair in prompts] == steered


def test_units_that_are_off_are_none() -> None:
    off = controlled_plan(IMAGE, {"enabled": False, "module": "openpose", "model": "x"}, {})
    assert off.wanted == off.requests


@pytest.mark.parametrize(
    ("unit", "named"),
    [
        ({"module": "openpose_full"}, "module"),
        ({"model": "none such"}, "model"),
        ({"model": "None"}, "model"),
        ({"control_mode": "Mine"}, "control_mode"),
        ({"control_mode": 3}, "control_mode"),
        ({"control_mode": [1]}, "control_mode"),
        ({"resize_mode": "x"}, "resize_mode"),
        ({"resize_mode": {}}, "resize_mode"),
        ({"weight": "much"}, "weight"),
        ({"module": "canny", "threshold_b": 256}, "threshold_b"),
        ({"module": "scribble_xdog", "threshold_a": 65}, "threshold_a"),
        ({"module": "canny", "threshold_a": "steep"}, "threshold_a"),
        ({"guidance_start": 2}, "guidance_start"),
        ({"ipadapter_input": ["x"]}, "ipadapter_input"),
        ({"hr_option": "x"}, "hr_option"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(unit: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as error:
        controlled_plan(IMAGE, {"model": MODEL, "image": "…", **unit})
    assert error.value.field == f"alwayson_scripts.ControlNet.args[0].{named}"


@pytest.mark.parametrize(
    ("unit", "named"),
    [
        ({"mask": "AAAA"}, "mask"),
        ({"image": {"image": "AAAA", "mask": "AAAA"}}, "image.mask"),
        ({"module": "canny", "image": "AAAA", "mask": "AAAA"}, "mask"),
        ({"module": "inpaint", "image": "AAAA"}, "mask"),
        ({"module": "inpaint", "image": "AAAA", "effective_region_mask": "AAAA"}, "effective_region_mask"),
        ({"image": 7}, "image"),
        ({"weight": 1}, "input_image"),
        ("x", ""),
    ],
)
def test_its_pictures_are_refused_by_name(shared_client: httpx.Client, unit: Any, named: str) -> None:
    body = {"alwayson_scripts": {"controlnet": {"args": [unit]}}, "width": 64, "height": 64}
    response = shared_client.post("/sdapi/v1/txt2img", json=body)
    assert response.status_code == 422
    place = "alwayson_scripts.controlnet.args[0]" + (f".{named}" if named else "")
    assert response.json()["detail"][0]["loc"] == ["body", place]
