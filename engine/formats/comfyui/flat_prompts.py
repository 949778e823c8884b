"""The prompts of a workflow that is taken for a request, with their areas, ControlNets and text encoder.

Knows neither how a request samples nor what it begins from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.formats.comfyui.flat_parts import Parts
from engine.request_parts import Control, PromptReading, Region
from engine.text.a1111.composition import Part, joined, parts_of
from engine.text.a1111.networks import without_tags
from engine.workflow.composing import ComposedGuider, prompts_of
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.models import Checkpoint, ClipWithLora, LastLayer
from engine.workflow.node import Node
from engine.workflow.pictures import LoadPicture
from engine.workflow.prompting import evaluations_of, reading_at
from engine.workflow.sampling import CfgGuider, Sample, ScheduledSigmas
from engine.workflow.text import EncodeA1111Text, EncodedText


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What a request says of the prompts of a guider."""

    values: Mapping[str, Any]
    """Parameters of the request."""
    fields: Mapping[str, tuple[Node, str]]
    """The nodes and fields of those that have one."""
    loras: tuple[ClipWithLora, ...]
    """How LoRAs change the text encoder, in the order in which they apply."""


def prompts_of_request(
    parts: Parts, guider: CfgGuider | ComposedGuider, checkpoint: Checkpoint, sample: Sample
) -> Prompts:
    """Return the prompts of ``guider``, which the request's first sampling follows. Raises ``BadRequest``."""
    weighted = prompts_of(guider.positive) if isinstance(guider, ComposedGuider) else ()
    places: list[tuple[Node, str]] = [(each, "conditioning") for each in weighted] or [(guider, "positive")]
    ends = [controls_below(parts, *each) for each in (*places, (guider, "negative"))]
    first, areas = prompts_below(parts, *ends[0][0])
    others = [parts.part(*end, EncodedText, "CLIPTextEncode") for end, _ in ends[1:]]
    texts = [parts.part(area, "conditioning", EncodedText, "CLIPTextEncode") for area in areas]
    prompts = [first, *others, *texts]
    layer, loras = _clip_of(parts, checkpoint, prompts)
    weights = [each.weight for each in weighted] or [1.0]
    weighed = [Part(text=each.text, weight=weight) for each, weight in zip(prompts, weights, strict=False)]
    is_a1111 = isinstance(guider, ComposedGuider) or any(isinstance(each, EncodeA1111Text) for each in prompts)
    corners = {f"regions[{i}].{name}": (area, name) for i, area in enumerate(areas) for name in ("x", "y")}
    return Prompts(
        values={
            "clip_skip": -layer,
            "regions": tuple(_region(area, text) for area, text in zip(areas, texts, strict=True)),
            "controls": ends[0][1],
            **(_language(parts, prompts, weighed, sample) if is_a1111 else {}),
        },
        fields={"prompt": (first, "text"), "negative_prompt": (others[-1], "text"), **corners},
        loras=loras,
    )


def _clip_of(
    parts: Parts, checkpoint: Checkpoint, prompts: Sequence[EncodedText]
) -> tuple[int, tuple[ClipWithLora, ...]]:
    """The layer that all ``prompts`` are encoded with, -1 the last, and the LoRAs that the first is encoded with."""
    clips = [_clip(parts, checkpoint, each) for each in prompts]
    for prompt, (layer, _) in zip(prompts, clips, strict=True):
        if layer != clips[0][0]:
            is_set = isinstance(prompt.clip, LastLayer)
            node, field = (prompt.clip, "layer") if is_set else (prompt, "clip")
            raise parts.refused(node, field, layer, f"{clips[0][0]}, the layer of the other prompt")
    return clips[0]


def controls_below(parts: Parts, node: Any, field: str) -> tuple[tuple[Node, str], tuple[Control, ...]]:
    """Return the node and field below the ControlNets of a prompt, and these in the order in which they apply."""
    found = []
    while isinstance(getattr(node, field), Controlled):
        node, field = getattr(node, field), "conditioning"
        if node.softly:
            raise parts.refused(node, "softly", True, "False")
        values = {name: getattr(node, name) for name in ("strength", "start", "end")}
        name = parts.part(node, "network", ControlFile, "ControlNetLoader").name
        image = parts.part(node, "pictures", LoadPicture, "LoadImage").name
        found.append(Control(model=name, image=image, **values))
    return (node, field), tuple(found[::-1])


def prompts_below(parts: Parts, node: Node, field: str) -> tuple[EncodedText, list[WithArea]]:
    """Return the prompt for the whole picture, and what combines it with those for areas."""
    areas = []
    while isinstance(getattr(node, field), CombineConditioning):
        node, field = getattr(node, field), "first"
        areas.append(parts.part(node, "second", WithArea, "ConditioningSetArea"))
    return parts.part(node, field, EncodedText, "CLIPTextEncode"), areas[::-1]


def _clip(parts: Parts, checkpoint: Checkpoint, prompt: EncodedText) -> tuple[int, tuple[ClipWithLora, ...]]:
    """A prompt's text encoder layer, -1 the last, of which the setter next to the prompt counts; and its LoRAs."""
    node: Node = prompt
    clip = prompt.clip
    loras: list[ClipWithLora] = []
    while isinstance(clip, LastLayer | ClipWithLora):
        loras += [clip] if isinstance(clip, ClipWithLora) else []
        node, clip = clip, clip.clip
    parts.same_checkpoint(checkpoint, node, "clip", clip)
    return prompt.clip.layer if isinstance(prompt.clip, LastLayer) else -1, tuple(loras[::-1])


def _language(parts: Parts, prompts: list[EncodedText], weighed: list[Part], sample: Sample) -> dict[str, Any]:
    """AUTOMATIC1111's syntax, how it is read, and the positive prompt in it."""
    sigmas = parts.part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
    count = evaluations_of(sigmas.sampler, sigmas.steps)
    reading = next((reading_at(each) for each in prompts if isinstance(each, EncodeA1111Text)), PromptReading())
    rules = {"evaluations": count, **dataclasses.asdict(reading)}
    for prompt in prompts:
        if prompt != EncodeA1111Text(clip=prompt.clip, text=prompt.text, **rules):
            allowed = f"A1111TextEncode for {count} evaluations, as the other prompts"
            raise parts.refused(prompt, "text", prompt, allowed)
    whole = joined(weighed)
    if list(parts_of(without_tags(whole, parts.place(prompts[0], "text"))[0])) != weighed:
        allowed = "a text without AND, a weight of its own, tags, and blanks at its end"
        raise parts.refused(prompts[0], "text", prompts[0].text, allowed)
    rules = {} if reading == PromptReading() else {"prompt_reading": reading}
    return {"prompt": whole, "prompt_syntax": "a1111", **rules}


def _region(area: WithArea, text: EncodedText) -> Region:
    values = {name: getattr(area, name) for name in ("x", "y", "width", "height", "strength")}
    return Region(prompt=text.text, **values)
