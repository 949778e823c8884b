"""Workflows of several samplings, outputs and checkpoints: carried out beside others, to the bits of alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from engine import BadRequest, Cancelled, Engine, UnknownCheckpoint, Workflow
from engine.workflow.latents import EmptyLatents, ScaleLatents
from engine.workflow.models import Checkpoint
from engine.workflow.needs import needs_of
from engine.workflow.pictures import Decode, SavePictures, ShowPictures
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import EncodeText
from tests.requests import small

EMPTY = EmptyLatents(width=64, height=64)


def sample(
    latents: object, *, checkpoint: str | None = None, seed: int = 1, denoise: float = 1.0, steps: int = 3
) -> Sample:
    model = Checkpoint(name=checkpoint)
    prompts = {name: EncodeText(clip=model, text=name) for name in ("positive", "negative")}
    return Sample(
        guider=CfgGuider(model=model, cfg_scale=4.0, **prompts),
        sampler=Sampler(name="euler"),
        sigmas=ScheduledSigmas(model=model, sampler="euler", scheduler="normal", steps=steps, denoise=denoise),
        noise=RandomNoise(seed=seed),
        latents=latents,
    )


def saved(latents: Sample, checkpoint: str | None = None) -> SavePictures:
    return SavePictures(pictures=Decode(latents=latents, vae=Checkpoint(name=checkpoint)))


def two_passes(seed: int = 1) -> Workflow:
    first = sample(EMPTY, seed=seed)
    second = sample(ScaleLatents(latents=first, method="bilinear", factor=1.5), seed=seed + 1, denoise=0.6)
    places = {("a", 0): first, ("b", 0): second}
    return Workflow(outputs={"first": saved(first), "second": saved(second)}, places=places)


def test_each_output_has_the_pictures_of_its_own_pass(engine: Engine) -> None:
    result = engine.generate(two_passes(), keep=[("b", 0)])
    assert {id: images[0].size for id, images in result.outputs.items()} == {"first": (64, 64), "second": (96, 96)}
    assert [image.size for image in result.images] == [(64, 64), (96, 96)]
    assert result.latents.shape == (1, 4, 8, 8)
    assert result.kept["b", 0].shape == (1, 4, 12, 12)
    assert result.request is None


def test_a_workflow_has_the_same_bytes_alone_and_beside_others(engine: Engine) -> None:
    workflows = [two_passes(seed) for seed in (1, 7, 1)]
    alone = [engine.generate(workflow) for workflow in workflows]
    others = [engine.submit(small(seed=seed)) for seed in range(3)]
    together = [engine.submit(workflow) for workflow in workflows]
    for handle, reference in zip(together, alone, strict=True):
        found = handle.result(60)
        pairs = zip(found.images, reference.images, strict=True)
        assert all(one.tobytes() == other.tobytes() for one, other in pairs)
    for handle in others:
        handle.result(60)
    assert alone[0].images[0].tobytes() != alone[1].images[0].tobytes()


def test_a_request_is_its_workflow(engine: Engine) -> None:
    request = dataclasses.replace(small(seed=3, clip_skip=2), model="tiny")
    as_request, as_workflow = engine.generate(request), engine.generate(request.workflow())
    assert torch.equal(as_request.latents, as_workflow.latents)
    assert as_request.images[0].tobytes() == as_workflow.images[0].tobytes()


def test_two_checkpoints_take_part_in_one_workflow(engine: Engine) -> None:
    first = sample(EMPTY, checkpoint="tiny")
    second = sample(first, checkpoint="other", denoise=0.5)
    both = engine.generate(Workflow(outputs={"x": saved(second, "other")}))
    one = engine.generate(Workflow(outputs={"x": saved(sample(first, checkpoint="tiny", denoise=0.5), "tiny")}))
    assert sorted(both.record["checkpoints"]) == ["other.safetensors", "tiny.safetensors"]
    assert both.images[0].tobytes() != one.images[0].tobytes()


def test_equal_nodes_are_computed_once(engine: Engine) -> None:
    picture = saved(sample(EMPTY)).pictures
    again = saved(sample(EMPTY)).pictures
    assert picture == again
    workflow = Workflow(outputs={"kept": SavePictures(pictures=picture), "shown": ShowPictures(pictures=again)})
    before = engine.counts["evaluations"]
    result = engine.generate(workflow)
    assert engine.counts["evaluations"] - before == 3
    assert result.outputs["kept"][0].tobytes() == result.outputs["shown"][0].tobytes()


def test_no_denoise_leaves_the_latents_as_they_are(engine: Engine) -> None:
    first = sample(EMPTY)
    workflow = Workflow(
        outputs={"x": saved(sample(first, seed=9, denoise=0.0))}, places={("a", 0): first, ("b", 0): sample(first)}
    )
    kept = engine.generate(workflow, keep=[("a", 0)])
    assert torch.equal(kept.latents, kept.kept["a", 0])


def test_progress_goes_over_all_samplings_and_names_the_node(engine: Engine) -> None:
    handle = engine.submit(two_passes())
    handle.result(60)
    events = [event for event in handle.events() if event.stage in ("sampling", "decoding")]
    assert [event.node for event in events if event.step == 3 and event.stage == "sampling"] == ["a", "b"]
    shares = [event.done for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(6 / 7)


def test_pictures_are_there_while_other_outputs_follow(engine: Engine) -> None:
    first = sample(EMPTY)
    outputs = {"early": saved(first), "late": saved(sample(first, seed=9))}
    handle = engine.submit(Workflow(outputs=outputs))
    whole = handle.result(60)
    events = list(handle.events())
    parts = [(place, event.made) for place, event in enumerate(events) if event.made is not None]
    assert [list(part.outputs) for _, part in parts] == [["early"]]
    (place, part) = parts[0]
    assert part.outputs["early"][0].tobytes() == whole.outputs["early"][0].tobytes()
    assert part.record == whole.record
    assert any(event.stage == "sampling" for event in events[place:])
    assert [
        event.made for event in engine.submit(Workflow(outputs={"only": saved(first)})).events() if event.made
    ] == []


def test_what_is_cancelled_between_two_samplings_leaves_nothing_behind(engine: Engine) -> None:
    long = Workflow(outputs={"x": saved(sample(sample(EMPTY, steps=2), steps=900, denoise=0.9))})
    handle = engine.submit(long)
    for event in handle.events():
        if event.stage == "sampling" and (event.steps or 0) > 2:
            break
    assert handle.cancel()
    with pytest.raises(Cancelled):
        handle.result()
    assert engine.generate(small()).images
    assert engine.counts["in_flight"] == 0


def test_what_a_workflow_costs_is_known_before_it_starts() -> None:
    needs = needs_of(two_passes())
    assert sorted(needs.steps.values()) == [3, 3]
    assert {size.pixels for size in needs.sizes.values()} == {(64, 64), (96, 96)}
    small_share, large_share = 64 * 64 / 512**2, 96 * 96 / 512**2
    assert needs.work == pytest.approx(4 * small_share + 4 * large_share)


def test_what_is_not_there_is_refused_before_it_starts(engine: Engine) -> None:
    with pytest.raises(UnknownCheckpoint, match="nowhere"):
        engine.submit(Workflow(outputs={"x": saved(sample(EMPTY, checkpoint="nowhere"), "nowhere")}))
    with pytest.raises(BadRequest, match="keep"):
        engine.submit(two_passes(), keep=[("c", 0)])
    with pytest.raises(BadRequest, match="at least one output"):
        Workflow(outputs={})
