"""What samplings with several prompts, areas and ranges cost, and which of them are refused before they start."""

from __future__ import annotations

from typing import Any

import pytest

from engine import BadRequest
from engine.workflow import conditioning as nodes
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint
from engine.workflow.needs import needs_of
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.sampling import BasicGuider, CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import Conditioning, EncodeText
from engine.workflow.workflow import Workflow

MODEL = Checkpoint()
PROMPT, OTHER, NEGATIVE = (EncodeText(clip=MODEL, text=text) for text in ("a boat", "the sea", "night"))
BOTH = nodes.CombineConditioning(first=PROMPT, second=OTHER)
HALF = nodes.WithArea(conditioning=OTHER, width=256, height=512)
LATER = nodes.WithRange(conditioning=OTHER, start=0.25, end=0.5)


def workflow(guider: Any, sampler: str = "euler") -> Workflow:
    sigmas = ScheduledSigmas(model=MODEL, sampler=sampler, steps=10)
    sample = Sample(
        guider=guider, sampler=Sampler(name=sampler), sigmas=sigmas, noise=RandomNoise(seed=1), latents=EmptyLatents()
    )
    return Workflow(outputs={"x": SavePictures(pictures=Decode(latents=sample, vae=MODEL))})


def guided(positive: Conditioning, negative: Conditioning = NEGATIVE, cfg_scale: float = 8.0) -> CfgGuider:
    return CfgGuider(model=MODEL, positive=positive, negative=negative, cfg_scale=cfg_scale)


def predictions(guider: Any, sampler: str = "euler") -> float:
    """Of a step."""
    decoded = 1.0
    return (needs_of(workflow(guider, sampler)).work - decoded) / 10 * 2


@pytest.mark.parametrize(("sampler", "evaluations"), [("euler", 1), ("heun", 2), ("seeds_3", 3), ("dpmpp_2m", 1)])
def test_work_counts_every_evaluation_of_a_step(sampler: str, evaluations: int) -> None:
    assert predictions(guided(PROMPT), sampler) == pytest.approx(2 * evaluations)


@pytest.mark.parametrize(
    ("positive", "count"),
    [
        (PROMPT, 2),
        (BOTH, 3),
        (nodes.ConcatenateConditioning(first=PROMPT, second=OTHER), 2),
        (nodes.CombineConditioning(first=PROMPT, second=HALF), 3),  # half of it twice: the negative prompt has it too
        (
            nodes.CombineConditioning(first=PROMPT, second=nodes.WithRange(conditioning=OTHER, start=0.25, end=0.5)),
            2.25,
        ),
        (nodes.WithAreaShares(conditioning=PROMPT, width=0.5, height=0.5), 1.5),
    ],
)
def test_work_counts_every_prompt_and_its_share(positive: Conditioning, count: float) -> None:
    assert predictions(guided(positive)) == pytest.approx(count)


def test_without_guidance_the_first_prompt_counts_alone() -> None:
    assert predictions(BasicGuider(model=MODEL, positive=PROMPT)) == 1
    assert predictions(guided(PROMPT, cfg_scale=1.0)) == 1
    assert predictions(guided(PROMPT, cfg_scale=1.0), "euler_cfg_pp") == 2


@pytest.mark.parametrize(
    ("area", "field"),
    [
        (nodes.WithArea(conditioning=PROMPT, x=512), "x"),
        (nodes.WithArea(conditioning=PROMPT, y=1024), "y"),
        (nodes.WithAreaShares(conditioning=PROMPT, y=1.0), "y"),
    ],
)
def test_an_area_outside_the_picture_is_refused_at_its_node(area: Conditioning, field: str) -> None:
    with pytest.raises(BadRequest, match="512 × 512") as refused:
        needs_of(workflow(guided(nodes.CombineConditioning(first=PROMPT, second=area))))
    assert (refused.value.field, refused.value.node) == (field, area)


@pytest.mark.parametrize("kind", [nodes.CombineConditioning, nodes.ConcatenateConditioning])
def test_a_few_nodes_cannot_ask_for_billions_of_prompts_or_tokens(kind: Any) -> None:
    doubled: Conditioning = PROMPT
    for _ in range(40):
        doubled = kind(first=doubled, second=doubled)
    with pytest.raises(BadRequest, match="at most 256") as refused:
        needs_of(workflow(guided(doubled)))
    assert refused.value.field == "second"
