"""Graphs as people have them, and those that ComfyUI carried out for the recorded results."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import BadRequest
from engine.formats.comfyui import editor_of, read_workflow, write_workflow
from engine.formats.comfyui.table import ROWS
from engine.workflow.node import Node
from tests.graphs_found import BROKEN, GRAPHS, filled
from tests.pack import CASES, Case


def classes(graph: dict[str, Any]) -> set[str]:
    return {node["class_type"] for node in graph.values() if isinstance(node, dict)}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_as_found_is_read_or_refused_for_a_class_by_its_name(name: str) -> None:
    graph = filled(GRAPHS[name])
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
    whole = [name for name, graph in GRAPHS.items() if classes(graph) <= set(ROWS) and name not in BROKEN]
    assert len(GRAPHS) == 89
    assert len(whole) == len(GRAPHS) - len(BROKEN)
    for name in whole:
        read_workflow(filled(GRAPHS[name]))


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
