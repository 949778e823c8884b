"""The table of ComfyUI's classes: every node has a row, every row is whole, and what it offers can be read."""

from __future__ import annotations

from typing import Any

import pytest

from engine.formats.comfyui.object_info import Offer, object_info
from engine.formats.comfyui.table import ROWS, Row
from engine.formats.comfyui.writer import _FORMS
from engine.parameters import MAX_SEED, REQUIRED
from engine.workflow.text import Embedding
from tests.workflow_values import node_classes

OFFER = Offer(files={"checkpoints": ["a.safetensors"]}, most={"steps": 30, "width": 10**6})


def test_every_node_can_be_written() -> None:
    assert set(node_classes()) - {Embedding} == set(_FORMS)  # which prompts name, and no node links to
    assert len(_FORMS) > 40


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_rows_templates_use_its_inputs_alone_and_most_of_them(row: Row) -> None:
    names = {name for template in row.templates() for name in template.names()}
    assert names <= set(row.inputs)
    ignored = {"config_name", "simple_order_2", "temporal_size", "temporal_overlap", "vae"}
    assert set(row.inputs) - names <= {*ignored, *(["model"] if not row.written else [])}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_defaults_are_allowed_and_what_is_out_of_range_is_not_offered(row: Row) -> None:
    for each in row.inputs.values():
        assert each.kind is None or each.help
        if each.kind is not None and each.default is not REQUIRED and each.default is not None:
            assert each.read("x", each.default) == each.default


def test_object_info_offers_the_tables_ranges_within_the_limits() -> None:
    info: Any = object_info(OFFER)
    sampler = info["KSampler"]["input"]["required"]
    assert list(sampler)[:5] == ["model", "seed", "steps", "cfg", "sampler_name"]
    assert sampler["model"][0] == "MODEL"
    seed = sampler["seed"]
    assert (seed[0], seed[1]["min"], seed[1]["max"], seed[1]["control_after_generate"]) == ("INT", 0, MAX_SEED, True)
    assert sampler["steps"][1]["max"] == 30
    assert sampler["cfg"][1] == {**sampler["cfg"][1], "default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1}
    assert "karras" in sampler["scheduler"][0]
    assert len(sampler["sampler_name"][0]) == 42
    assert info["EmptyLatentImage"]["input"]["required"]["width"][1]["step"] == 8
    assert info["EmptyLatentImage"]["input"]["required"]["width"][1]["max"] == 16384
    assert info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] == ["a.safetensors"]
    assert info["CLIPTextEncode"]["input"]["required"]["text"][1]["multiline"] is True
    assert info["SamplerCustom"]["output_name"] == ["output", "denoised_output"]
    assert info["SplitSigmas"]["output"] == ["SIGMAS", "SIGMAS"]
    assert info["SaveImage"]["output_node"] is True
    assert "Reroute" not in info
