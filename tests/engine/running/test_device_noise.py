"""Noise of a CUDA device's generator, on whatever device samples: as a parameter, in graphs, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine import BadRequest, Engine, Workflow
from engine.running.functions import Bench, LatentBatch, function_of
from engine.running.observer import Unobserved
from engine.sampling.devices import MOST_CUDA_NUMBERS
from engine.workflow.sampling import RandomNoise
from tests.requests import same, small


def test_each_choice_makes_another_picture(engine: Engine) -> None:
    choices = [(start, steps) for start in ("cpu", "cuda") for steps in ("cpu", "cuda")]
    results = [
        engine.generate(small(sampler="euler_ancestral", seed=5, start_noise=start, step_noise=steps))
        for start, steps in choices
    ]
    for number, one in enumerate(results):
        assert all(not torch.allclose(one.latents, other.latents) for other in results[:number])
    assert same(results[-1], engine.generate(Workflow.from_comfyui(results[-1].workflow.to_comfyui())))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpmpp_2m_sde"])
def test_step_noise_leaves_samplers_alone_that_draw_none_or_on_the_cpu(engine: Engine, sampler: str) -> None:
    results = [engine.generate(small(sampler=sampler, seed=5, step_noise=where)) for where in ("cpu", "cuda")]
    assert torch.equal(results[0].latents, results[1].latents)


def test_the_path_of_a_gpu_sampler_is_the_devices(engine: Engine) -> None:
    results = [engine.generate(small(sampler="dpmpp_2m_sde_gpu", seed=5, step_noise=w)) for w in ("cpu", "cuda")]
    assert not torch.allclose(results[0].latents, results[1].latents)


@pytest.mark.parametrize("field", ["start_noise", "step_noise"])
def test_a_size_whose_order_depends_on_the_card_is_refused(engine: Engine, field: str) -> None:
    allowed: dict[str, Any] = {"width": 1024, "height": 1024, field: "cuda"}
    small(**allowed).workflow()
    with pytest.raises(BadRequest, match=f"of more than {MOST_CUDA_NUMBERS:,} the order depends on the card") as caught:
        engine.submit(small(**allowed | {"batch_size": 2}))
    assert caught.value.field == field


def test_graphs_name_the_devices_where_comfyui_looks_for_nothing() -> None:
    graph = small(seed=5, start_noise="cuda").workflow().to_comfyui()
    inputs = graph["3"]["inputs"]
    assert (inputs["start_noise"], "step_noise" in inputs) == ("cuda", False)
    inputs["step_noise"] = "cuda"
    assert (
        Workflow.from_comfyui(graph).outputs == small(seed=5, start_noise="cuda", step_noise="cuda").workflow().outputs
    )
    inputs["step_noise"] = "tpu"
    with pytest.raises(BadRequest, match="step_noise"):
        Workflow.from_comfyui(graph)
    plain = small(seed=5).workflow().to_comfyui()
    assert not {"start_noise", "step_noise"} & set(plain["3"]["inputs"])


def test_a_factor_multiplies_the_start_noise_alone() -> None:
    batch = LatentBatch(samples=torch.zeros(2, 4, 8, 8))
    bench = Bench(torch.device("cpu"), {}, {}, Unobserved())
    plain, half = (function_of(node)(node, bench) for node in (RandomNoise(seed=3), RandomNoise(seed=3, factor=0.5)))
    assert torch.equal(half.drawn(batch), plain.drawn(batch) * 0.5)
    assert (half.seed, half.steps) == (plain.seed, plain.steps)
