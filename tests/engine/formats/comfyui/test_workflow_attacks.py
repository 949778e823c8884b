"""Mutated, deep and long graphs, and any JSON at all: read, or refused as a bad request."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.formats.comfyui import (
    api_workflow,
    editor_of,
    editor_workflow,
    read_workflow,
    request_from_workflow,
    write_workflow,
)
from engine.formats.comfyui.table import OUTPUT_CLASSES, ROWS
from engine.parameters import REQUIRED
from engine.request import GenerationRequest
from tests.graphs import (
    FILE,
    api,
    editor,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for key, entry in entries for deeper in paths(entry, (*path, key))]


@st.composite
def mutated_graphs(draw: st.DrawFn) -> Any:
    """A valid graph, some parts of which are gone, replaced by others of its parts, or by anything."""
    write = draw(st.sampled_from([api_workflow, editor_workflow]))
    graph: Any = copy.deepcopy(write(GenerationRequest(clip_skip=2), checkpoint_file=FILE))
    for _ in range(draw(st.integers(1, 4))):
        everything = paths(graph)
        if not everything:
            break
        *way, last = draw(st.sampled_from(everything))
        parent = graph
        for key in way:
            parent = parent[key]
        if draw(st.booleans()):
            del parent[last]
        else:
            *source, _ = other = draw(st.sampled_from(everything))
            replacement: Any = graph
            try:
                for key in other:
                    replacement = replacement[key]
            except (KeyError, IndexError, TypeError):
                replacement = source
            parent[last] = copy.deepcopy(draw(st.just(replacement) | json_values))
    return graph


def read_or_refuse(graph: object) -> None:
    try:
        read: GenerationRequest | BadRequest = request_from_workflow(graph)
    except BadRequest as error:
        read = error
    if isinstance(read, BadRequest):
        assert re.match(r"workflow\b", read.field)
        assert str(read).isprintable()
    else:
        assert isinstance(read, GenerationRequest)


@given(mutated_graphs())
@settings(max_examples=600)
def test_a_mutated_graph_is_read_or_refused(graph: object) -> None:
    read_or_refuse(graph)


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    read_or_refuse(value)
    read_or_refuse({"nodes": [value]})
    read_or_refuse(
        {"nodes": [{"id": 9, "type": "SaveImage", "inputs": [value], "widgets_values": value}], "links": value}
    )
    read_or_refuse({"9": {"class_type": "SaveImage", "inputs": value}})
    read_or_refuse({"9": value, "prompt": value, "definitions": value})


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    read_or_refuse(text)


def nested(depth: int, inner: object) -> object:
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("depth", [100, 900, 5000, 100_000])
def test_depth_is_no_attack(depth: int) -> None:
    read_or_refuse("[" * depth + "]" * depth)
    read_or_refuse('{"3":' * depth + "5" + "}" * depth)
    deep = nested(depth, 1)
    for node, entry in api().items():
        for name in (*entry["inputs"], "extra"):
            graph = api()
            graph[node]["inputs"][name] = deep
            read_or_refuse(graph)
    read_or_refuse(api() | {"3": deep, "9": {"class_type": deep, "inputs": deep}})
    for key in ("id", "type", "mode", "inputs", "outputs", "widgets_values"):
        graph = editor()
        for entry in graph["nodes"]:
            entry[key] = deep
        read_or_refuse(graph)
    for key in ("name", "type", "link", "widget"):
        graph = editor()
        for entry in graph["nodes"]:
            for slot in (*entry["inputs"], *entry["outputs"]):
                slot[key] = deep
        read_or_refuse(graph)
    read_or_refuse(editor() | {"links": [[deep] * 6], "definitions": {"subgraphs": [{"id": deep, "name": deep}]}})


def test_long_chains_are_no_attack() -> None:
    length = 20_000
    graph = api(clip_skip=2)
    for number in range(1000, 1000 + length):
        graph[str(number)] = copy.deepcopy(graph["10"])
        graph[str(number)]["inputs"]["clip"] = [str(number + 1), 0]
    graph[str(1000 + length)] = graph["10"]
    graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["1000", 0]
    assert request_from_workflow(graph).clip_skip == 2
    reroutes = editor()
    for number in range(1000, 1000 + length):
        reroutes["nodes"].append({"id": number, "type": "Reroute", "inputs": [{"type": "*", "link": number}]})
        reroutes["links"].append([number, number + 1, 0, number, 0, "*"])
    for number in range(100_000, 100_000 + length):
        entry = {"id": number, "type": "SaveImage", "widgets_values": ["x"]}
        reroutes["nodes"].append({**entry, "inputs": [{"name": "images", "type": "IMAGE", "link": 1000}]})
    read_or_refuse(reroutes)


@st.composite
def graphs_of_the_table(draw: st.DrawFn) -> dict[str, Any]:
    """A graph of any classes with links, often wrong ones, and values of all kinds."""
    ids = [str(number) for number in range(draw(st.integers(1, 8)))]
    graph: dict[str, Any] = {}
    for id in ids:
        row = ROWS[draw(st.sampled_from(list(ROWS)))]
        inputs: dict[str, Any] = {}
        for name, known in row.inputs.items():
            links = st.tuples(st.sampled_from([*ids, "404"]), st.integers(0, 2)).map(list)
            if known.linked:
                value = draw(links)
            else:
                default = "a" if known.default in (REQUIRED, None) else known.default
                value = draw(st.just(default) | st.just(default) | links | json_values)
            if draw(st.integers(0, 9)):
                inputs[name] = value
        graph[id] = {"class_type": row.class_type, "inputs": inputs}
    graph["end"] = {"class_type": draw(st.sampled_from(OUTPUT_CLASSES)), "inputs": {"images": ["0", 0]}}
    return graph


@given(graphs_of_the_table())
@settings(max_examples=400)
def test_any_graph_of_known_classes_is_read_or_refused(graph: dict[str, Any]) -> None:
    read_or_refuse(graph)
    try:
        workflow = read_workflow(graph)
    except BadRequest as error:
        assert re.match(r"workflow\b", error.field)
        return
    assert read_workflow(write_workflow(workflow)) == workflow
    read_or_refuse(editor_of(graph))
