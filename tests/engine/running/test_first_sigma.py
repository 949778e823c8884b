"""A graph with SetFirstSigma: the schedule starts where the graph says, and everything else stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine import BadRequest, Engine
from engine.running.checking import check
from engine.sampling import schedules
from engine.workflow.workflow import Workflow

OWN = float(schedules.basic(scheduler="karras", steps=3)[0])
"""The first level that the graph's schedule has anyway."""


def _graph(sigma: float | None) -> Workflow:
    """A graph of three steps whose first level is ``sigma``; None leaves SetFirstSigma out."""
    graph: dict[str, Any] = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["4", 1]}},
        "10": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["4", 0], "scheduler": "karras", "steps": 3, "denoise": 1.0},
        },
        "11": {"class_type": "SetFirstSigma", "inputs": {"sigmas": ["10", 0], "sigma": sigma}},
        "12": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "3": {
            "class_type": "SamplerCustom",
            "inputs": {
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["6", 0],
                "sampler": ["12", 0],
                "sigmas": ["10" if sigma is None else "11", 0],
                "latent_image": ["5", 0],
                "add_noise": True,
                "noise_seed": 7,
                "cfg": 2.0,
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }
    if sigma is None:
        del graph["11"]
    return Workflow.from_comfyui(graph)


def test_the_schedules_own_first_level_changes_nothing(engine: Engine) -> None:
    assert torch.equal(engine.generate(_graph(OWN)).latents, engine.generate(_graph(None)).latents)


def test_another_first_level_makes_another_picture_of_as_many_steps(engine: Engine) -> None:
    workflow = _graph(OWN / 2)
    result = engine.generate(workflow)
    assert torch.isfinite(result.latents).all()
    assert not torch.equal(result.latents, engine.generate(_graph(None)).latents)
    assert list(check(workflow).steps.values()) == [3]


@pytest.mark.parametrize("sigma", [0.0, -1.0, 20_001.0])
def test_a_level_out_of_range_is_refused_with_its_place(sigma: float) -> None:
    with pytest.raises(BadRequest) as refused:
        _graph(sigma)
    assert refused.value.field == "workflow node 11 (SetFirstSigma) sigma"
