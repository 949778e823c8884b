"""Graphs as people have them, and those that ComfyUI carried out for the recorded results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadRequest
from engine.formats.comfyui import editor_of, read_workflow, write_workflow
from engine.formats.comfyui.table import ROWS
from engine.workflow.node import Node
from tests.pack import CASES, Case

WILD = {
    entry["name"]: entry["graph"]
    for entry in map(json.loads, (Path(__file__).parents[3] / "workflows" / "wild.jsonl").read_text().splitlines())
}
"""Graphs of core nodes alone from public repositories, with other texts and file names."""

FILLED: dict[str, Any] = {
    "scale": 7.5,
    "cfg": 7.5,
    "sampler": "euler",
    "sampler_name": "euler",
    "scheduler": "normal",
    "seed": 5,
    "steps": 4,
    "width": 512,
    "height": 512,
    "batch_size": 1,
    "loraName": "a",
    "loraStrength": 0.8,
    "loraClipStrength": 0.8,
}
"""What a program would put in the place of the placeholders in these graphs."""

BROKEN = {
    "wild04": "workflow node 5 (Canny) low_threshold",
    "wild05": "workflow node 5 (CLIPTextEncode) clip",  # a VAE
    "wild61": "workflow node 3 (KSampler) seed",  # a word in place of a number
    "wild86": "workflow node 76 (ImageUpscaleWithModel) image",  # nothing
}
"""Graphs that ComfyUI refuses too, and where."""


def filled(graph: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(graph)
    for name, value in FILLED.items():
        for placeholder in (f'"%{name}%"', f'"${{{name}}}"', f'"{{{{{name}}}}}"'):
            text = text.replace(placeholder, json.dumps(value))
    read: dict[str, Any] = json.loads(text)
    return read


def classes(graph: dict[str, Any]) -> set[str]:
    return {node["class_type"] for node in graph.values() if isinstance(node, dict)}


@pytest.mark.parametrize("name", WILD)
def test_a_graph_as_found_is_read_or_refused_for_a_class_by_its_name(name: str) -> None:
    graph = filled(WILD[name])
    missing = classes(graph) - set(ROWS)
    try:
        workflow = read_workflow(graph)
    except BadRequest as error:
        if name in BROKEN:
            assert error.field == BROKEN[name]
        else:
            assert error.value in missing
            assert str(error.value) in error.field
    else:
        assert read_workflow(write_workflow(workflow)) == workflow
        assert set(read_workflow(editor_of(graph)).outputs.values()) == set(workflow.outputs.values())


def test_every_graph_as_found_that_needs_no_missing_class_is_read() -> None:
    whole = [name for name, graph in WILD.items() if classes(graph) <= set(ROWS) and name not in BROKEN]
    assert len(WILD) == 89
    assert len(whole) == len(WILD) - len(BROKEN)
    for name in whole:
        read_workflow(filled(WILD[name]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_recorded_graph_is_read_and_written(case: Case) -> None:
    workflow = read_workflow(case.graph)
    for place in (*case.records.values(), *case.probes.values()):
        assert isinstance(workflow.places[place], Node)
    for place in case.records.values():
        workflow.at(place)
    written = write_workflow(workflow)
    assert read_workflow(written) == workflow
    assert read_workflow(editor_of(case.graph)) == workflow
    # the latents of this class are written apart from its prompts: encoded, and masked by a mask that is fitted
    apart = 3 if "InpaintModelConditioning" in classes(dict(case.graph)) else 0
    assert len(written) <= len(case.graph) + apart
