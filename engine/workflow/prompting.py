"""The prompts of a request → nodes, in the language that they are written in.

Knows no other part of a request.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BadRequest
from engine.request_parts import Lora, PromptReading
from engine.sampling.samplers.table import sampler_named
from engine.text.a1111.composition import Part, parts_of
from engine.text.a1111.networks import without_tags
from engine.text.a1111.schedule import Entry, Timing, entries_of
from engine.workflow.composing import WEIGHT
from engine.workflow.models import Clip
from engine.workflow.text import MOST_CHARACTERS, MOST_TEXTS, Conditioning, EncodeA1111Text, EncodeText

if TYPE_CHECKING:
    from engine.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What the language of prompts depends on beside their text: numbers in it count evaluations."""

    syntax: str
    reading: PromptReading
    evaluations: int
    before: int = 0
    """Evaluations of the pass before this one; 0 in a first pass."""

    def encoded(self, clip: Clip, text: str) -> Conditioning:
        """Return the node that encodes a text without ``AND``."""
        if self.syntax == "a1111":
            reading = dataclasses.asdict(self.reading)
            return EncodeA1111Text(clip=clip, text=text, evaluations=self.evaluations, before=self.before, **reading)
        return EncodeText(clip=clip, text=text)


def pass_of(request: GenerationRequest, sampler: str, steps: int, before: Pass | None = None) -> Pass:
    """Return what the prompts of a pass depend on, which comes behind the pass ``before``, or behind none."""
    count = 0 if before is None else before.evaluations
    if request.a1111 is not None:
        sampler = request.a1111.sampler or sampler
    reading, evaluations = reading_of(request), evaluations_of(sampler, steps)
    return Pass(syntax=request.prompt_syntax, reading=reading, evaluations=evaluations, before=count)


def reading_at(node: EncodeA1111Text) -> PromptReading:
    """Return how the prompt of a node is read."""
    return PromptReading(**{each.name: getattr(node, each.name) for each in dataclasses.fields(PromptReading)})


def reading_of(request: GenerationRequest) -> PromptReading:
    """Return how the prompts of ``request`` are read, if they are in AUTOMATIC1111's language."""
    return request.prompt_reading or PromptReading()


def evaluations_of(sampler: str, steps: int) -> int:
    """Return the evaluations that AUTOMATIC1111 counts for so many steps, the last counted as the others."""
    return steps * sampler_named(sampler).evaluations


def parts_of_prompt(request: GenerationRequest) -> tuple[Part, ...]:
    """Return the parts of the positive prompt, without tags.

    Raises ``BadRequest`` for tags that cannot be read, and for weights of parts that are out of range.
    """
    if request.prompt_syntax != "a1111":
        return (Part(text=request.prompt),)
    parts = parts_of(without_tags(request.prompt)[0])
    for part in parts:
        WEIGHT.check("prompt", part.weight)
    return parts


def check_region(request: GenerationRequest, number: int) -> None:
    """Raise ``BadRequest`` for a region's prompt with what only a whole picture's may have: ``AND``, and tags."""
    text, field = request.regions[number].prompt, f"regions[{number}].prompt"
    if request.prompt_syntax == "a1111":
        plain, tags = without_tags(text, field)
        if tags or parts_of(plain) != (Part(text=plain.rstrip()),):
            raise BadRequest(field, text, "a prompt without AND, a weight of its own, and tags, for a region")


def loras_of(request: GenerationRequest) -> Iterator[tuple[Lora, str]]:
    """Yield the LoRAs that the prompt's tags name, then those of the request, each with the field that names its file.

    Raises ``BadRequest`` for tags that cannot be read.
    """
    if request.prompt_syntax == "a1111":
        for tag in without_tags(request.prompt)[1]:
            strengths = {"strength": tag.strength, "clip_strength": tag.text_strength}
            yield Lora(name=tag.name, **strengths, rank=tag.rank), "prompt"
    for place, lora in enumerate(request.loras):
        yield lora, f"loras[{place}].name"


@functools.lru_cache(maxsize=256)
def schedule_of(node: EncodeA1111Text) -> tuple[Entry, ...]:
    """Return the texts of a prompt, and when each counts.

    Raises ``BadRequest``, with the node at fault, for what cannot be read, weights included, and for more different
    texts than ``MOST_TEXTS``.
    """
    try:
        entries = entries_of(node.text, Timing(steps=node.evaluations, before=node.before, old=node.old_schedules))
        texts = {entry.text for entry in entries}
        if len(texts) > MOST_TEXTS:
            raise BadRequest("text", f"{len(texts)} texts that take turns", f"at most {MOST_TEXTS} different ones")
        if len(texts) > 1 and (length := sum(map(len, texts))) > MOST_CHARACTERS:
            raise BadRequest("text", f"texts with {length} characters that take turns", f"at most {MOST_CHARACTERS}")
        for text in texts:
            node.reading.weighted(text)
    except BadRequest as error:
        raise BadRequest(error.field, error.value, error.allowed, node=node) from None
    return entries
