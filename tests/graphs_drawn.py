"""Graphs for ComfyUI drawn at random from every class of the table, small enough to be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from engine.formats.comfyui.table import ROWS, Input
from engine.parameters import Flag, Kind, Name, Number, OneOf, Seed, Text, WholeNumber

FILES: Mapping[str, str] = {
    "checkpoints": "tiny",
    "loras": "ink",
    "vae": "tiny",
    "controlnet": "control",
    "embeddings": "dot",
    "upscale_models": "larger",
}
"""The kind of files → the name of one that there is."""

PICTURES = ("photo.png", "mask.png", "pixel.png", "frames.gif")
"""The names of the pictures that there are."""

_MOST = {"width": 128, "height": 128, "steps": 4, "batch_size": 2, "amount": 2, "length": 3, "resolution": 128}
"""The largest values of inputs that make work."""

_USUAL_MOST = 96

Place = tuple[str, int]
"""A node's id and one of its outputs."""


def _value(known: Input) -> st.SearchStrategy[Any]:
    """A value that is allowed, and small."""
    kind: Kind | None = known.kind
    match kind:
        case WholeNumber(low=low, high=high, multiple=multiple):
            most = max(low, min(high, _MOST.get(known.name, _USUAL_MOST)))
            return st.integers(-(-max(low, -_USUAL_MOST) // multiple), max(1, most // multiple)).map(
                lambda n: max(low, min(high, n * multiple))
            )
        case Number(low=low, high=high, above_low=above):
            least = max(low, -2.0)
            return st.floats(least, min(high, max(least + 1, 2.0)), exclude_min=above and least == low)
        case OneOf(choices=choices):
            return st.sampled_from(choices)
        case Flag():
            return st.booleans()
        case Seed():
            return st.integers(0, 2**64 - 1)
        case Text():
            return st.sampled_from(["a red boat", "(night:1.3)", "", "embedding:dot sea", "a " * 100])
        case Name():
            if known.files in FILES:
                return st.just(FILES[known.files])
            return st.sampled_from(PICTURES if known.name == "image" else ["a"])
    raise AssertionError(f"no strategy for {kind}")


@st.composite
def runnable_graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A graph of up to six classes of the table between a plain request's, linked by the types of their outputs; one
    in a few has a link of a wrong type, or a value that is not allowed."""
    graph: dict[str, Any] = {}
    places: dict[str, list[Place]] = {}
    faulty = draw(st.integers(0, 7)) == 0

    def add(class_type: str, **given: Any) -> str | None:
        row, inputs = ROWS[class_type], dict(given)
        for name, known in row.inputs.items():
            fitting = places.get(known.type, [])
            if name in inputs:
                continue
            if known.linked and not fitting and not known.may_be_absent:
                return None
            if known.linked:
                latest_first = st.sampled_from([*reversed(fitting), *([None] if known.may_be_absent else [])])
                link = draw(latest_first)
                if link is not None:
                    inputs[name] = list(link)
            elif not known.may_be_absent or draw(st.booleans()):
                inputs[name] = draw(_value(known))
            if faulty and draw(st.integers(0, 19)) == 0:
                wrong = [list(place) for some in places.values() for place in some]
                inputs[name] = draw(st.sampled_from([*wrong, -1, 1e9, "x", None, [], ["404", 0]]))
        id = str(len(graph) + 1)
        graph[id] = {"class_type": class_type, "inputs": inputs}
        for slot, type in enumerate(row.output_types):
            places.setdefault(type, []).append((id, slot))
        return id

    add("CheckpointLoaderSimple")
    add("CLIPTextEncode")
    add("EmptyLatentImage", width=64, height=64)
    add("LoadImage")
    inner = [name for name, row in ROWS.items() if not row.is_output and not row.is_virtual]
    for class_type in draw(st.lists(st.sampled_from(inner), max_size=6)):
        add(class_type)
    if "GUIDER" in places and {"SIGMAS", "SAMPLER", "NOISE"} <= places.keys():
        add("SamplerCustomAdvanced")
    else:
        add("KSampler", steps=draw(st.integers(1, 3)))
    if "UPSCALE_MODEL" in places:
        add("ImageUpscaleWithModel")
    if "MASK" in places:
        add("MaskToImage")
    add("VAEDecode")
    for place in places["IMAGE"][-2:]:
        add("SaveImage", images=list(place), filename_prefix="drawn")
    return graph
