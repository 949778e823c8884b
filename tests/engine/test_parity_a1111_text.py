"""Prompts that AUTOMATIC1111 has encoded for the same synthetic checkpoint: every conditioning is met, to rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig, GenerationRequest, Hires, Workflow
from engine.formats.infotext import sampler_from_label
from engine.text.a1111.composition import without_comments
from engine.workflow.node import Node
from engine.workflow.prompting import schedule_of
from engine.workflow.sampling import ScheduledSigmas
from engine.workflow.substitution import substituted
from engine.workflow.text import EncodeA1111Text
from engine.workflow.workflow import Place
from tests.pack import MEMORY
from tests.pack_a1111 import CHECKPOINT, A1111Case, cases_of, reading_of

TOLERANCE = 2e-6
"""The relative error of features. The recorded ones are 0.7e-6 from the exact result themselves, ours 0.4e-6."""

MEAN_TOLERANCE = 2e-5
"""The same where weights scale features to the mean that they had: this checkpoint's mean is a thousandth of its
features, which magnifies rounding as much. What the scale is, is then measured beside it, at ``TOLERANCE``."""

_EACH = 12
"""``make test`` runs one of this many cases, and one of each feature; CI runs all."""


@pytest.fixture(scope="module")
def engine(pack_folder: Path) -> Iterator[Engine]:
    folders = (pack_folder,)
    settings: dict[str, Any] = {"device": "cpu", "dtype": "float32", "text_encoder": "float32", "memory_budget": MEMORY}
    with Engine(EngineConfig(models_folders=folders, checkpoint=CHECKPOINT, **settings)) as engine:
        yield engine


def _parameters() -> Iterator[Any]:
    features: set[str] = set()
    for number, case in enumerate(cases_of("prompt")):
        marks = [] if number % _EACH == 0 or case.feature not in features else [pytest.mark.slow]
        features.add(case.feature)
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", list(_parameters()))
def test_every_recorded_conditioning_is_met(engine: Engine, case: A1111Case) -> None:
    nodes = dict(prompts_of(request_of(case)))
    kept = engine.generate(short(request_of(case), nodes), keep=[(label, 0) for label in nodes]).kept
    found = {}
    for label, node in nodes.items():
        entries = schedule_of(node)
        assert [[entry.last, entry.text] for entry in entries] == recorded_schedule(case, label), label
        members = dict(zip(dict.fromkeys(entry.text for entry in entries), members_of(kept[label, 0]), strict=True))
        found |= {f"{label}/{number}": members[entry.text] for number, entry in enumerate(entries)}
    assert found.keys() == case.conditioning.keys()
    for label, features in found.items():
        check(features, case.encoded(label))


def request_of(case: A1111Case) -> GenerationRequest:
    payload = case.payload
    again = Hires(scale=1, steps=payload.get("hr_second_pass_steps"), denoise=0.5)
    return GenerationRequest(
        prompt=without_comments(payload["prompt"]),
        negative_prompt=without_comments(payload["negative_prompt"]),
        prompt_syntax="a1111",
        prompt_reading=reading_of(case),
        width=16,
        height=16,
        steps=payload["steps"],
        sampler=sampler_from_label(payload.get("sampler_name", "Euler"))[0],
        clip_skip=case.settings.get("CLIP_stop_at_last_layers", 1),
        hires=again if payload.get("enable_hr") else None,
    )


def prompts_of(request: GenerationRequest) -> Iterator[tuple[str, EncodeA1111Text]]:
    """Yield the nodes that encode prompts, by the labels of their records."""
    places = request.workflow().places

    def node(id: str) -> EncodeA1111Text:
        found = places[id, 0]
        assert isinstance(found, EncodeA1111Text)
        return found

    yield from (("positive/0", node("6")), ("negative", node("7")))
    more = (number for number in range(1, 10) if (f"{3001 + 10 * number}", 0) in places)
    yield from ((f"positive/{number}", node(f"{3001 + 10 * number}")) for number in more)
    if request.hires is not None:
        yield from (("hires_positive/0", node("96")), ("hires_negative", node("97")))


def short(request: GenerationRequest, kept: dict[str, EncodeA1111Text]) -> Workflow:
    """Return a workflow with the prompts of ``request`` that samples one step."""
    made = request.workflow()
    fewer: dict[Node, Node] = {
        node: dataclasses.replace(node, steps=1) for node in made.nodes if isinstance(node, ScheduledSigmas)
    }
    places: dict[Place, Node] = {(label, 0): node for label, node in kept.items()}
    return Workflow(outputs={id: substituted(each, fewer) for id, each in made.outputs.items()}, places=places)


def recorded_schedule(case: A1111Case, label: str) -> list[list[object]]:
    name, _, number = label.partition("/")
    schedule: list[list[object]] = case.result[name][int(number)]["schedule"] if number else case.result[name]
    return schedule


def members_of(kept: Any) -> list[Tensor]:
    """Return what was kept of each member of a conditioning, (tokens, width)."""
    return [each.squeeze(0) for each in (kept if isinstance(kept, list | tuple) else [kept])]


def check(features: Tensor, recorded: Tensor) -> None:
    found = features[:, ::8] if recorded.shape[1] < features.shape[1] else features
    assert found.shape == recorded.shape
    assert relative_error(found, recorded) <= MEAN_TOLERANCE
    for chunk, other in zip(found.split(77), recorded.split(77), strict=True):
        scale = (chunk * other).sum() / (chunk * chunk).sum()
        assert relative_error(chunk * scale, other) <= TOLERANCE


def relative_error(found: Tensor, reference: Tensor) -> float:
    return float(torch.linalg.vector_norm(found - reference) / torch.linalg.vector_norm(reference))
