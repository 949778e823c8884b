"""Patched models: pictures are the same bytes alone and under load, and every patch does what it is for."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch

from engine import BadRequest, Engine, Workflow
from engine.batching import trials as trials_module
from engine.running.functions import Bench, function_of
from engine.running.model import Network
from engine.running.observer import Unobserved
from engine.workflow import patches as nodes
from engine.workflow.models import Checkpoint, Model, WithLora
from engine.workflow.needs import needs_of
from engine.workflow.sampling import BasicGuider, DualCfgGuider, PerpNegGuider
from engine.workflow.text import Conditioning
from tests.patched import Patch, patched
from tests.requests import same


def velocity(model: Model) -> Model:
    return nodes.DiscreteReading(model=model, sampling="v_prediction")


LARGE = {"width": 128, "height": 128}
"""Where even the lowest level has cells to attend to."""

PATCHES: dict[str, Patch] = {
    "v": velocity,
    "rescale": lambda model: nodes.RescaledGuidance(model=model),
    "pag": lambda model: nodes.PerturbedAttention(model=model),
    "sag": lambda model: nodes.SelfAttention(model=model),
    "free_u": lambda model: nodes.FreeU(model=model),
    "free_u_2": lambda model: nodes.FreeU(model=model, b1=1.3, b2=1.4, version=2),
    "hyper_tile": lambda model: nodes.HyperTile(model=model, tile_size=32, swap_size=4, max_depth=1),
    "tome": lambda model: nodes.TokenMerging(model=model, ratio=0.5),
    "deep_shrink": lambda model: nodes.DeepShrink(model=model, end_percent=0.8),
}


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


def mixed() -> list[Workflow]:
    """One workflow with each patch, some with several, of different sizes, batches and guidance."""
    each = [
        patched(
            patch,
            seed=seed,
            batch_size=1 + seed % 2,
            width=(64, 96)[seed % 3 == 0],
            cfg_scale=(5.0, 1.0)[seed % 4 == 3],
        )
        for seed, patch in enumerate(PATCHES.values())
    ]
    several = [
        patched(PATCHES["free_u"], PATCHES["pag"], PATCHES["sag"], seed=20, sampler="heun"),
        patched(PATCHES["hyper_tile"], PATCHES["tome"], PATCHES["deep_shrink"], seed=21, width=128),
        patched(*PATCHES.values(), seed=22, prompt="long " * 90),
    ]
    return [*each, *several, patched(seed=23)]


def test_alone_and_under_load_the_bytes_are_the_same(engine: Engine) -> None:
    workflows = mixed()
    alone = [engine.generate(workflow) for workflow in workflows]
    handles = [engine.submit(workflow) for workflow in workflows]
    for handle, solo in zip(handles, alone, strict=True):
        assert same(handle.result(120), solo)
    assert all(bool(torch.isfinite(result.latents).all()) for result in alone)


def test_rows_with_random_choices_share_calls(engine: Engine) -> None:
    workflows = [patched(PATCHES["tome"], seed=seed) for seed in range(4)]
    alone = [engine.generate(workflow) for workflow in workflows]
    handles = [engine.submit(workflow) for workflow in workflows]
    assert all(same(handle.result(120), solo) for handle, solo in zip(handles, alone, strict=True))


@pytest.mark.parametrize("name", PATCHES)
def test_every_patch_changes_the_picture(engine: Engine, name: str) -> None:
    plain, changed = (engine.generate(each).latents for each in (patched(**LARGE), patched(PATCHES[name], **LARGE)))
    assert plain.shape == changed.shape
    assert float((plain - changed).norm() / plain.norm()) > 1e-3


@pytest.mark.parametrize(
    "idle",
    [
        lambda model: nodes.DiscreteReading(model=model),
        lambda model: nodes.PerturbedAttention(model=model, scale=0.0),
        lambda model: nodes.RescaledGuidance(model=model, multiplier=0.0),
        lambda model: nodes.TokenMerging(model=model, ratio=0.0),
        lambda model: nodes.HyperTile(model=model, tile_size=2048),
        lambda model: nodes.DeepShrink(model=model, block_number=32),
        lambda model: nodes.DeepShrink(model=model, start_percent=1.0, end_percent=1.0),
    ],
)
def test_a_patch_that_has_nothing_to_do_changes_nothing(engine: Engine, idle: Patch) -> None:
    assert torch.equal(engine.generate(patched()).latents, engine.generate(patched(idle)).latents)


def test_random_choices_come_from_the_seed(engine: Engine) -> None:
    one, again, other = (engine.generate(patched(PATCHES["tome"], seed=seed)).latents for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_global_generator_is_not_touched(engine: Engine) -> None:
    before = torch.get_rng_state()
    engine.generate(patched(PATCHES["tome"], PATCHES["hyper_tile"]))
    assert torch.equal(before, torch.get_rng_state())


def test_the_order_of_corrections_does_not_matter(engine: Engine) -> None:
    one, other = (
        engine.generate(patched(*(PATCHES[name] for name in names), **LARGE)).latents
        for names in (("pag", "sag"), ("sag", "pag"))
    )
    assert float((one - other).norm() / one.norm()) < 1e-5


def test_the_later_reading_counts(engine: Engine) -> None:
    workflow = patched(velocity, lambda model: nodes.DiscreteReading(model=model))
    assert torch.equal(engine.generate(workflow).latents, engine.generate(patched()).latents)


@pytest.mark.parametrize("name", ["pag", "sag", "rescale"])
def test_guiders_of_three_prompts_are_corrected(engine: Engine, name: str) -> None:
    def dual(model: Model, positive: Conditioning, negative: Conditioning, *, style: str) -> DualCfgGuider:
        return DualCfgGuider(model=model, positive=positive, middle=positive, negative=negative, style=style)

    for style in ("regular", "nested"):
        guide = partial(dual, style=style)
        plain, changed = (
            engine.generate(patched(*some, guide=guide, **LARGE)).latents for some in ((), (PATCHES[name],))
        )
        assert not torch.allclose(plain, changed)


def test_perpendicular_guidance_is_corrected(engine: Engine) -> None:
    def guide(model: Model, positive: Conditioning, negative: Conditioning) -> PerpNegGuider:
        return PerpNegGuider(model=model, positive=positive, negative=negative, empty=negative)

    plain, changed = (engine.generate(patched(*some, guide=guide, **LARGE)).latents for some in ((), (PATCHES["pag"],)))
    assert not torch.allclose(plain, changed)


def test_self_attention_guidance_needs_a_negative_prompt(engine: Engine) -> None:
    def alone(model: Model, positive: Conditioning, negative: Conditioning) -> BasicGuider:
        return BasicGuider(model=model, positive=positive)

    with pytest.raises(BadRequest, match="negative prompt"):
        engine.generate(patched(PATCHES["sag"], guide=alone))


def test_work_counts_further_predictions() -> None:
    plain, perturbed, attending = (
        needs_of(patched(*some, cfg_scale=cfg)).work
        for some, cfg in (((), 5.0), ((PATCHES["pag"],), 5.0), ((PATCHES["sag"],), 5.0))
    )
    assert plain < perturbed == attending


def test_other_weights_keep_the_patches_of_the_model_that_they_change() -> None:
    """The checkpoint itself is not resident where only the changed weights are used."""
    checkpoint: Any = Checkpoint(name="tiny")
    patch = PATCHES["free_u"](checkpoint)
    changed = WithLora(model=patch, name="ink")
    weights = dataclasses.replace(changed, model=checkpoint)
    denoiser: Any = object()
    bench = Bench(torch.device("cpu"), {changed: Network(denoiser), weights: Network(denoiser)}, {}, Unobserved())
    for node in (checkpoint, patch, changed):
        bench.values[node] = function_of(node)(node, bench)
    network = bench.network(changed)
    assert network.denoiser is denoiser
    assert network.patches == bench.network(patch).patches != ()
