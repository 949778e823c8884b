"""The nodes for pictures and masks: what they make is as large as was said beforehand, or is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import BadRequest
from engine.parameters import Flag, Number, OneOf, WholeNumber
from engine.pictures.inputs import InputPicture, read_input
from engine.running.functions import Bench, LatentBatch, PictureBatch, function_of
from engine.running.inputs import inputs_of
from engine.running.observer import Unobserved
from engine.workflow import editing, encoding, latents, masks, preprocessing
from engine.workflow.masks import LoadMask, LoadTransparency, Mask
from engine.workflow.models import Checkpoint
from engine.workflow.needs import needs_of
from engine.workflow.node import Link, Node
from engine.workflow.pictures import Decode, LoadPicture, Pictures, SavePictures
from engine.workflow.sizes import Known, PictureSize, Size
from engine.workflow.workflow import Workflow

CPU = torch.device("cpu")
PICTURES: dict[str, InputPicture] = {
    name: read_input(name, [{name: image}])
    for name, image in {
        "rgb": Image.effect_noise((12, 7), 50).convert("RGB"),
        "rgba": Image.new("RGBA", (5, 9), (9, 8, 7, 100)),
        "pixel": Image.new("RGB", (1, 1), (1, 2, 3)),
    }.items()
}
KNOWN = Known(pictures=tuple((name, picture.size) for name, picture in PICTURES.items()))
VAE_FREE = (encoding.WithNoiseMask, encoding.CompositeLatentsMasked)
CLASSES = [
    value
    for module in (editing, masks, preprocessing)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Pictures | Mask) and value not in (Pictures, Mask)
] + list(VAE_FREE)


def small_value(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case WholeNumber(low=low, high=high, multiple=multiple):
            least = -(-max(low, -20) // multiple)
            return st.integers(least, max(least, min(high, 20) // multiple)).map(lambda n: n * multiple)
        case Number(low=low, high=high):
            return st.floats(low, min(high, 2.0))
        case OneOf(choices=choices):
            return st.sampled_from(choices)
        case Flag():
            return st.booleans()
    return st.sampled_from(list(PICTURES))


def start() -> list[Node]:
    loaded: list[Node] = [LoadPicture(name=name) for name in PICTURES]
    loaded += [LoadTransparency(name="rgb"), LoadTransparency(name="rgba"), LoadMask(name="rgba", channel="red")]
    return [*loaded, latents.EmptyLatents(width=24, height=16, batch_size=2)]


@st.composite
def chains(draw: st.DrawFn) -> list[Node]:
    """Nodes, each made from those before it."""
    pool = start()
    for cls in draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=6)):
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cast(Any, cls)):
            kind = field.metadata["kind"]
            if isinstance(kind, Link):
                fitting = [node for node in pool if isinstance(node, kind.type)]
                values[field.name] = draw(st.sampled_from([*fitting, *([None] if kind.optional else [])]))
            else:
                values[field.name] = draw(small_value(kind))
        pool.append(cls(**values))
    return pool


def shown(node: Node) -> Pictures:
    """Pictures that depend on ``node``."""
    if isinstance(node, Pictures):
        return node
    if isinstance(node, Mask):
        return editing.MaskPictures(mask=node)
    assert isinstance(node, latents.Latents)
    return Decode(latents=node, vae=Checkpoint())


def size_of(value: Any) -> Size | PictureSize:
    if isinstance(value, LatentBatch):
        pictures, _, height, width = value.samples.shape
        return Size(pictures=pictures, height=height, width=width)
    if isinstance(value, PictureBatch):
        pictures, height, width, channels = value.pixels.shape
        return PictureSize(pictures=pictures, height=height, width=width, alpha=channels == 4)
    pictures, height, width = value.shape
    return PictureSize(pictures=pictures, height=height, width=width)


def carried_out(node: Node, bench: Bench) -> Any:
    made = function_of(node)(node, bench)
    if not isinstance(made, Generator):
        return made
    while True:
        try:
            next(made)
        except StopIteration as end:
            return end.value


@settings(max_examples=300)
@given(chains())
def test_what_nodes_make_is_as_large_as_was_said(chain: list[Node]) -> None:
    bench = Bench(CPU, {}, {}, Unobserved(), inputs=PICTURES)
    for node in chain:
        try:
            needs = needs_of(Workflow(outputs={"9": SavePictures(pictures=shown(node))}), KNOWN)
        except BadRequest as error:
            assert error.node is not None
            assert error.field in dict(error.node.fields()) or error.field in ("batch_size", "width")
            return
        bench.values[node] = carried_out(node, bench)
        assert size_of(bench.values[node]) == needs.sizes[node]


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (masks.ChannelMask(pictures=LoadPicture(name="rgb"), channel="alpha"), "channel"),
        (masks.CropMask(mask=LoadTransparency(name="rgba"), x=5, y=0), "x"),
        (masks.CropMask(mask=LoadTransparency(name="rgba"), x=0, y=9), "y"),
        (editing.ScalePictures(pictures=editing.EmptyPictures(width=16384, height=1), factor=2.0), "width"),
        (
            editing.RepeatPictures(pictures=editing.EmptyPictures(width=1, height=1, batch_size=2), amount=4096),
            "batch_size",
        ),
        (LoadPicture(name="gone"), "name"),
    ],
)
def test_what_cannot_be_is_refused_with_its_node(node: Any, field: str) -> None:
    pictures = node if isinstance(node, Pictures) else editing.MaskPictures(mask=node)
    with pytest.raises(BadRequest) as caught:
        needs_of(Workflow(outputs={"9": SavePictures(pictures=pictures)}), KNOWN)
    assert caught.value.field == field
    assert caught.value.node == node


def test_each_picture_of_a_workflow_is_read_once_and_one_that_is_missing_is_refused_with_its_node() -> None:
    both = editing.JoinPictures(first=LoadPicture(name="a"), second=LoadPicture(name="b"))
    workflow = Workflow(outputs={"9": SavePictures(pictures=both)})
    image = Image.new("RGB", (3, 2))
    assert set(inputs_of(workflow, {"a": image, "b": image})) == {"a", "b"}
    with pytest.raises(BadRequest) as caught:
        inputs_of(workflow, {"a": image})
    assert caught.value.node == LoadPicture(name="b")
