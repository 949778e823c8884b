"""Prompts in AUTOMATIC1111's language become nodes: parts with weights, schedules, LoRAs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine import BadRequest, Control, GenerationRequest, Hires, Lora, Region, Workflow
from engine.formats.comfyui import request_of
from engine.parameters import from_json, to_json
from engine.running.checking import check
from engine.workflow.composing import ComposedGuider, prompts_of
from engine.workflow.controls import Controlled
from engine.workflow.from_request import field_of, workflow_of
from engine.workflow.models import Checkpoint, ClipWithLora, WithLora
from engine.workflow.needs import needs_of
from engine.workflow.node import Node
from engine.workflow.pictures import SavePictures
from engine.workflow.prompting import schedule_of
from engine.workflow.sampling import CfgGuider, Sample
from engine.workflow.text import EncodeA1111Text, EncodedText


def request(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt_syntax": "a1111", "seed": 1, "negative_prompt": "", **fields})


def nodes(workflow: Workflow, kind: type[Any]) -> list[Any]:
    return [node for node in workflow.nodes if isinstance(node, kind)]


def guiders(made: GenerationRequest) -> list[Node]:
    return [sample.guider for sample in nodes(workflow_of(made), Sample)]


def test_a_prompt_without_and_is_guided_as_any_other() -> None:
    (guider,) = guiders(request(prompt="[a|b] BREAK c"))
    assert isinstance(guider, CfgGuider)
    assert guider.positive == EncodeA1111Text(clip=Checkpoint(), text="[a|b] BREAK c", evaluations=20)


def test_and_has_a_guider_of_its_own() -> None:
    (guider,) = guiders(request(prompt="a cat AND a dog :-0.4", cfg_scale=5))
    assert isinstance(guider, ComposedGuider)
    found = [(part.conditioning.text, part.weight) for part in prompts_of(guider.positive)]  # type: ignore[attr-defined]
    assert (found, guider.cfg_scale) == ([("a cat", 1.0), (" a dog", -0.4)], 5)
    (alone,) = guiders(request(prompt="a cat :1.3"))
    assert isinstance(alone, ComposedGuider)  # its weight is one of guidance too


def test_a_negative_prompt_has_words_where_a_prompt_has_and_and_tags() -> None:
    workflow = workflow_of(request(prompt="a", negative_prompt="b AND c <lora:ink:1>"))
    assert [node.text for node in nodes(workflow, EncodedText)] == ["a", "b AND c <lora:ink:1>"]


def test_tags_are_loras_before_those_of_the_request() -> None:
    workflow = workflow_of(request(prompt="a <lora:ink:0.5:0.8>", loras=(Lora(name="wash"),)))
    ink = WithLora(model=Checkpoint(), name="ink", strength=0.8)
    assert nodes(workflow, WithLora) == [ink, WithLora(model=ink, name="wash")]
    assert [node.strength for node in nodes(workflow, ClipWithLora)] == [0.5, 1.0]
    assert [node.text for node in nodes(workflow, EncodedText)] == ["a", ""]  # a part has no blanks at its end


@pytest.mark.parametrize(("sampler", "steps", "evaluations"), [("euler", 7, 7), ("heun", 7, 14), ("dpmpp_sde", 5, 10)])
def test_numbers_in_prompts_count_evaluations(sampler: str, steps: int, evaluations: int) -> None:
    (prompt, _) = nodes(workflow_of(request(prompt="[a:b:0.5]", sampler=sampler, steps=steps)), EncodeA1111Text)
    assert prompt.evaluations == evaluations
    assert [entry.last for entry in schedule_of(prompt)] == [evaluations // 2, evaluations]


def test_a_second_pass_goes_on_counting() -> None:
    workflow = workflow_of(request(prompt="[a:b:1.5]", steps=10, hires=Hires(steps=6)))
    prompts = (node for node in nodes(workflow, EncodeA1111Text) if node.text)
    first, second = sorted(prompts, key=lambda node: node.before)
    assert [entry.text for entry in schedule_of(first)] == ["a"]
    assert [(entry.last, entry.text) for entry in schedule_of(second)] == [(3, "a"), (6, "b")]


def test_controls_steer_every_part() -> None:
    control = Control(model="edges", image="hint.png")
    workflow = workflow_of(request(prompt="a AND b", controls=(control,)))
    assert len(nodes(workflow, Controlled)) == 3  # two parts, and the negative prompt


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "a <hypernet:x:1>"}, "prompt"),
        ({"prompt": "(a:1..2)"}, "prompt"),
        ({"prompt": "a AND (b:1..2)"}, "prompt"),
        ({"negative_prompt": "(" * 101}, "negative_prompt"),
        ({"prompt": "a AND b :99999"}, "prompt"),
        ({"prompt": f"[{'|'.join(map(str, range(300)))}]", "steps": 300}, "prompt"),
        ({"prompt": f"[a|b] {'c' * 60_000}"}, "prompt"),
        ({"regions": (Region(prompt="a AND b", width=64, height=64),)}, "regions[0].prompt"),
        ({"regions": (Region(prompt="a <lora:b:1>", width=64, height=64),)}, "regions[0].prompt"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    made = request(**fields)
    with pytest.raises(BadRequest) as refused:
        check(workflow_of(made))
    assert field_of(made, refused.value) == field


def test_a_lora_that_is_not_there_is_the_prompts_fault() -> None:
    made = request(prompt="a <lora:ink:1>")
    (lora,) = nodes(workflow_of(made), WithLora)
    assert field_of(made, BadRequest("name", "ink", "a file", node=lora)) == "prompt"


def test_prompts_side_by_side_cost_a_prediction_each() -> None:
    one, two, three = (
        needs_of(workflow_of(request(prompt=text, steps=100))).work for text in ("a", "a AND b", "a AND b AND c")
    )
    assert (three - two) == pytest.approx(two - one) == pytest.approx(50)
    assert needs_of(workflow_of(request(prompt="[a|b|c]", steps=100))).work == one


def test_the_workflow_is_a_graph_and_comes_back() -> None:
    made = request(prompt="[a:b:0.5] AND c :0.7 <lora:ink:0.5>", negative_prompt="[d|e]", model="m", hires=Hires())
    workflow = workflow_of(made)
    assert Workflow.from_comfyui(workflow.to_comfyui()).outputs == workflow.outputs
    assert from_json(GenerationRequest, to_json(made)) == made


def test_the_language_is_the_requests_own() -> None:
    texts = {
        each.text
        for each in nodes(
            workflow_of(dataclasses.replace(request(prompt="a AND b"), prompt_syntax="comfyui")), EncodedText
        )
    }
    assert texts == {"a AND b", ""}


@pytest.mark.parametrize("prompt", ["a red [boat|ship]", "a boat AND the sea :0.7", "a cat :1.3", "a BREAK b", ""])
def test_a_workflow_of_plain_parts_is_a_request_again(prompt: str) -> None:
    made = request(prompt=prompt, negative_prompt="[b:c:0.5] AND d", sampler="heun", model="m", clip_skip=2)
    assert request_of(workflow_of(made)) == made
    region = Region(prompt="(e:1.2)", width=64, height=64)
    assert request_of(workflow_of(dataclasses.replace(made, regions=(region,)))).regions == (region,)


@pytest.mark.parametrize("change", [{"evaluations": 3}, {"before": 4}, {"text": "a <lora:b:1>"}, {"text": "a AND b"}])
def test_a_workflow_whose_prompts_are_otherwise_is_no_request(change: dict[str, Any]) -> None:
    workflow = workflow_of(request(prompt="a"))
    (end,) = workflow.outputs.values()
    sample = nodes(workflow, Sample)[0]
    positive = dataclasses.replace(sample.guider.positive, **change)
    changed = dataclasses.replace(sample, guider=dataclasses.replace(sample.guider, positive=positive))
    decode: Any = end.pictures
    pictures = dataclasses.replace(decode, latents=changed)
    with pytest.raises(BadRequest):
        request_of(Workflow(outputs={"9": SavePictures(pictures=pictures)}))
