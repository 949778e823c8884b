"""Workflows as values, drawn at random from every class of node that there is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, cast

from hypothesis import strategies as st

from engine.parameters import Flag, Kind, Name, Number, OneOf, Seed, Text, WholeNumber
from engine.sampling.samplers.table import sampler_named
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint
from engine.workflow.node import Link, Node
from engine.workflow.pictures import Decode, Output, Pictures
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import EncodeText
from engine.workflow.workflow import Workflow


def node_classes(base: type[Node] = Node) -> Iterator[type[Node]]:
    """The classes of node that can be made, each once."""
    found: dict[type[Node], None] = {}
    stack = [base]
    while stack:
        each = stack.pop()
        stack += each.__subclasses__()
        if "kind" in str(getattr(each, "__dataclass_fields__", "")) and each.__module__.startswith("engine.workflow"):
            found[each] = None
    yield from sorted(found, key=lambda each: each.__name__)


def _values(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case WholeNumber(low=low, high=high, multiple=multiple):
            return st.integers(-(-low // multiple), high // multiple).map(lambda n: n * multiple)
        case Number(low=low, high=high, above_low=above):
            first, last = math.ceil(low) + above, int(high)
            numbers = st.floats(low, high, exclude_min=above)
            return numbers if first > last else numbers | st.integers(first, last).map(float)
        case OneOf(choices=choices):
            return st.sampled_from(choices)
        case Flag():
            return st.booleans()
        case Seed():
            return st.integers(0, 2**64 - 1)
        case Name(optional=optional):
            names = st.sampled_from(["a.safetensors", "folder\\b.ckpt"])
            return st.none() | names if optional else names
        case Text():
            return st.text(max_size=10)
    raise AssertionError(f"no strategy for {kind}")


@st.composite
def _options(draw: st.DrawFn, sampler: str) -> tuple[tuple[str, Any], ...]:
    pairs = []
    for name, default in sampler_named(sampler).options.items():
        value: st.SearchStrategy[Any] = st.floats(0, 2)
        if isinstance(default, bool):
            value = st.booleans()
        elif isinstance(default, int):
            value = st.integers(1, 3)
        elif isinstance(default, str):
            value = st.sampled_from([default, "heun"])
        if draw(st.booleans()):
            pairs.append((name, draw(value | st.just(default))))
    return tuple(pairs)


@st.composite
def _nodes(draw: st.DrawFn, cls: type[Node], pool: list[Node]) -> Node | None:
    """A node of ``cls`` made from nodes of ``pool``; None where they do not suffice."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, cls)):
        kind = field.metadata.get("kind")
        if isinstance(kind, Link):
            fitting = [node for node in pool if isinstance(node, kind.type)]
            if not fitting and not kind.optional:
                return None
            values[field.name] = draw(st.sampled_from([*fitting, *([None] if kind.optional else [])]))
        elif kind is not None:
            values[field.name] = draw(_values(kind))
    if issubclass(cls, Sampler):
        values["options"] = draw(_options(values["name"]))
    return cls(**values)


def plain_nodes() -> list[Node]:
    """The nodes that a plain request is made from."""
    checkpoint = Checkpoint(name="a.safetensors")
    prompt = EncodeText(clip=checkpoint, text="a bottle")
    guider = CfgGuider(model=checkpoint, positive=prompt, negative=prompt)
    sampler, sigmas, noise = Sampler(), ScheduledSigmas(model=checkpoint), RandomNoise(seed=1)
    empty = EmptyLatents()
    sample = Sample(guider=guider, sampler=sampler, sigmas=sigmas, noise=noise, latents=empty)
    decode = Decode(latents=sample, vae=checkpoint)
    return [checkpoint, prompt, guider, sampler, sigmas, noise, empty, sample, decode]


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """A workflow of a few nodes of any class, with one to three outputs."""
    pool = plain_nodes()
    inner = [cls for cls in node_classes() if not issubclass(cls, Output)]
    for cls in draw(st.lists(st.sampled_from(inner), max_size=8)):
        node = draw(_nodes(cls, pool))
        if node is not None:
            pool.append(node)
    pool += [Decode(latents=node, vae=cast(Any, pool[0])) for node in pool[-1:] if isinstance(node, Sample)]
    pictures: list[Node] = [node for node in pool if isinstance(node, Pictures)]
    ends = draw(st.lists(st.sampled_from(list(node_classes(Output))), min_size=1, max_size=3))
    outputs: dict[str, Output] = {}
    for number, cls in enumerate(ends):
        end = draw(_nodes(cls, pictures))
        assert isinstance(end, Output)
        outputs[str(number + 3)] = end
    return Workflow(outputs=outputs)
