"""Node signatures: what the engine's nodes take, within the server's limits."""

from __future__ import annotations

import pytest

from engine import BadRequest, GenerationRequest
from engine.formats.comfyui import request_from_workflow
from engine.formats.comfyui.nodes import NODE_CLASSES, OUTPUT_CLASSES
from engine.formats.comfyui.flat import PARAMETER_INPUTS
from server.dialects.comfyui import object_info
from tests.server.dialects.comfyui.client import graph_of

OFFER = object_info.Offer(models=["m"], most={"steps": 30, "width": 10**6})


def test_the_ranges_end_where_the_servers_limits_do() -> None:
    def most(class_type: str, input: str) -> int:
        config = object_info.input_config(class_type, input, OFFER)
        assert config is not None
        return int(config[1]["max"])

    assert (most("KSampler", "steps"), most("EmptyLatentImage", "width")) == (30, 16384)


def test_the_signatures_are_those_of_the_engines_nodes() -> None:
    for name, known in NODE_CLASSES.items():
        info = object_info.node(name, OFFER)
        assert info is not None
        required = info["input"]["required"]
        assert sorted(required) == sorted(known.inputs) == sorted(info["input_order"]["required"])
        assert tuple(info["output"]) == known.outputs
        assert info["output_node"] == (name in OUTPUT_CLASSES)
        assert {each: required[each][0] for each in known.links} == dict(known.links)
    assert object_info.node("Nope", OFFER) is None


@pytest.mark.parametrize(("parameter", "input"), [(name, at[1]) for name, at in PARAMETER_INPUTS.items()])
def test_the_ranges_are_those_of_the_engine(parameter: str, input: str) -> None:
    if input in ("sampler_name", "scheduler", "ckpt_name", "text"):
        return
    limits = object_info.RANGES[input][1]
    step = limits.get("step", 1)
    for value in {limits["min"], limits["max"], limits["default"]}:
        GenerationRequest(**{parameter: -value if parameter == "clip_skip" else value})
    for value in (limits["min"] - step, limits["max"] + step):
        if parameter == "clip_skip":
            graph = graph_of(clip_skip=2)
            graph["10"]["inputs"][input] = value
            with pytest.raises(BadRequest):
                request_from_workflow(graph)
        elif (parameter, value) != ("seed", -1):  # in a request it asks for a fresh one; in a graph it is refused
            with pytest.raises(BadRequest):
                GenerationRequest(**{parameter: value})
