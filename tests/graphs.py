"""What the tests of ComfyUI graphs share: the shipped files, both forms of a request, and ways to change a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.formats.comfyui import api_workflow, editor_workflow, request_from_workflow
from engine.request import MAX_SEED, SAMPLERS, SCHEDULERS, GenerationRequest
from engine.request_parts import Region

FOLDER = Path(__file__).parent / "workflows"
FILE = "AWPainting_v1.3.safetensors"
SHIPPED = GenerationRequest(model=FILE)
K = "workflow node 3 (KSampler)"
"""Where the sampler's inputs are, in messages."""

regions = st.builds(
    Region,
    prompt=st.text(max_size=20),
    x=st.just(0) | st.just(8),
    y=st.just(0) | st.just(8),
    width=st.integers(8, 2048).map(lambda n: n * 8),
    height=st.integers(8, 2048).map(lambda n: n * 8),
    strength=st.floats(0, 10),
)

requests = st.builds(
    GenerationRequest,
    prompt=st.text() | st.text("ab\\{}|/* \n\r\u2028,:\"'"),
    negative_prompt=st.text() | st.text("ab\\{}|/*\n"),
    width=st.integers(2, 2048).map(lambda n: n * 8),
    height=st.integers(2, 2048).map(lambda n: n * 8),
    batch_size=st.integers(1, 4096),
    steps=st.integers(1, 10000),
    cfg_scale=st.floats(0, 100),
    sampler=st.sampled_from(SAMPLERS),
    scheduler=st.sampled_from(SCHEDULERS),
    seed=st.integers(0, MAX_SEED),
    denoise=st.floats(0, 1, exclude_min=True),
    clip_skip=st.integers(1, 24),
    model=st.none() | st.just("some model"),
    regions=st.lists(regions, max_size=3).map(tuple),
)


def shipped(name: str) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return graph


def api(**request: Any) -> Any:
    return api_workflow(GenerationRequest(**request), checkpoint_file=FILE)


def editor(**request: Any) -> Any:
    return editor_workflow(GenerationRequest(**request), checkpoint_file=FILE)


def editor_node(graph: dict[str, Any], node: int) -> dict[str, Any]:
    return next(entry for entry in graph["nodes"] if entry["id"] == node)


def add_between(graph: dict[str, Any], link: int, node: dict[str, Any]) -> None:
    """Put a node with one input and one output into a link."""
    old = next(entry for entry in graph["links"] if entry[0] == link)
    kind = old[5]
    new = max(entry[0] for entry in graph["links"]) + 1
    graph["links"].append([new, old[1], old[2], node["id"], 0, kind])
    old[1], old[2] = node["id"], 0
    inputs = [{"name": "", "type": node.pop("kind", kind), "link": new}]
    graph["nodes"].append({"inputs": inputs, "outputs": [{"type": kind, "links": [link]}], "mode": 0, **node})


def link_into(graph: dict[str, Any], node: int, name: str) -> int:
    return int(next(entry["link"] for entry in editor_node(graph, node)["inputs"] if entry["name"] == name))


def refused(graph: object, field: str, *said: str) -> None:
    """The graph is refused at exactly this place, and the message says these words."""
    with pytest.raises(BadRequest) as caught:
        request_from_workflow(graph)
    assert caught.value.field == field
    for words in said:
        assert words in str(caught.value)
