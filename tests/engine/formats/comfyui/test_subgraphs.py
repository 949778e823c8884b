"""Subgraphs and group nodes of the editor form: what is inside takes their place, as when the editor queues a graph."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from engine.errors import BadRequest
from engine.formats.comfyui import read_workflow, request_from_workflow
from tests.graphs import SHIPPED, editor, editor_node, link_into

KIND = "6cdb9b3f-6a1c-4f0e-8f3b-2f6f5b1d8f10"
OUTER = "7cdb9b3f-6a1c-4f0e-8f3b-2f6f5b1d8f11"


def inner_link(id: int, origin: int, output: int, target: int, input: int, type: str) -> dict[str, Any]:
    return {
        "id": id,
        "origin_id": origin,
        "origin_slot": output,
        "target_id": target,
        "target_slot": input,
        "type": type,
    }


def with_subgraph() -> Any:
    """The default graph, whose prompt with its checkpoint's CLIP stands in a subgraph with a widget for its text."""
    graph = editor()
    encode = editor_node(graph, 6)
    graph["nodes"].remove(encode)
    clip = encode["inputs"][0]["link"]
    encode["inputs"] = [
        {"name": "clip", "type": "CLIP", "link": 1},
        {"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": 2},
    ]
    definition = {
        "id": KIND,
        "name": "Prompt",
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
        "inputs": [
            {"name": "clip", "type": "CLIP", "linkIds": [1]},
            {"name": "text", "type": "STRING", "linkIds": [2]},
        ],
        "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING", "linkIds": [3]}],
        "nodes": [encode],
        "links": [
            inner_link(1, -10, 0, 6, 0, "CLIP"),
            inner_link(2, -10, 1, 6, 1, "STRING"),
            inner_link(3, 6, 0, -20, 0, "CONDITIONING"),
        ],
    }
    graph["nodes"].append(
        {
            "id": 6,
            "type": KIND,
            "mode": 0,
            "inputs": [
                {"name": "clip", "type": "CLIP", "link": clip},
                {"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": None},
            ],
            "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING"}],
            "widgets_values": ["from outside"],
        }
    )
    graph["definitions"] = {"subgraphs": [definition]}
    return graph


def definition_of(graph: Any) -> Any:
    return graph["definitions"]["subgraphs"][0]


def said(graph: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_workflow(graph)
    return caught.value


def test_a_subgraph_is_what_is_inside() -> None:
    graph = with_subgraph()
    workflow = read_workflow(graph)
    assert request_from_workflow(graph).prompt == "from outside"
    assert ("6:6", 0) in workflow.places
    assert workflow.graph is not None
    assert workflow.graph["6:6"]["class_type"] == "CLIPTextEncode"
    assert not [id for id in workflow.graph if "<" in id or ">" in id]


def test_a_widget_without_a_value_outside_keeps_the_one_inside() -> None:
    graph = with_subgraph()
    instance = editor_node(graph, 6)
    instance["widgets_values"] = []
    assert request_from_workflow(graph) == SHIPPED
    instance["widgets_values"] = ["kept inside"]
    instance["properties"] = {"proxyWidgets": [["6", "text"]]}
    assert request_from_workflow(graph) == SHIPPED
    del instance["properties"]
    instance["inputs"][1]["link"] = 90
    graph["nodes"].append({"id": 50, "type": "PrimitiveNode", "widgets_values": ["linked"]})
    graph["links"].append([90, 50, 0, 6, 1, "STRING"])
    assert request_from_workflow(graph).prompt == "linked"


def test_subgraphs_may_be_nested_and_used_twice() -> None:
    graph = with_subgraph()
    inner = definition_of(graph)
    instance = copy.deepcopy(editor_node(graph, 6)) | {"id": 1, "widgets_values": ["nested"]}
    instance["inputs"][0]["link"], instance["inputs"][1]["link"] = 11, None
    outer = {
        "id": OUTER,
        "name": "Outer",
        "inputs": [{"name": "clip", "type": "CLIP"}],
        "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING"}],
        "nodes": [instance],
        "links": [inner_link(11, -10, 0, 1, 0, "CLIP"), inner_link(12, 1, 0, -20, 0, "CONDITIONING")],
    }
    graph["definitions"]["subgraphs"] = [inner, outer]
    placed = editor_node(graph, 6)
    placed |= {"type": OUTER, "inputs": placed["inputs"][:1], "widgets_values": []}
    workflow = read_workflow(graph)
    assert request_from_workflow(graph).prompt == "nested"
    assert ("6:1:6", 0) in workflow.places
    second = copy.deepcopy(placed) | {"id": 77}
    graph["nodes"].append(second)
    next(link for link in graph["links"] if link[0] == link_into(graph, 3, "negative"))[1] = 77
    assert request_from_workflow(graph).negative_prompt == "nested"


def test_an_output_node_may_be_inside() -> None:
    graph = editor()
    save = editor_node(graph, 9)
    graph["nodes"].remove(save)
    outside = save["inputs"][0]["link"]
    save["inputs"][0]["link"] = 1
    definition = {
        "id": KIND,
        "inputs": [{"name": "images", "type": "IMAGE"}],
        "nodes": [save],
        "links": [inner_link(1, -10, 0, 9, 0, "IMAGE")],
    }
    inputs = [{"name": "images", "type": "IMAGE", "link": outside}]
    instance = {"id": 9, "type": KIND, "mode": 0, "inputs": inputs, "outputs": []}
    graph["nodes"].append(instance)
    graph["definitions"] = {"subgraphs": [definition]}
    assert list(read_workflow(graph).outputs) == ["9:9"]
    instance["mode"] = 2
    assert "output node" in str(said(graph))


def test_a_bypassed_subgraph_hands_on_and_a_muted_one_does_not() -> None:
    graph = with_subgraph()
    editor_node(graph, 6)["mode"] = 2
    assert "muted" in str(said(graph))
    graph = with_subgraph()
    passing = {"id": 60, "type": KIND, "mode": 4}
    passing["inputs"] = [{"name": "m", "type": "MODEL", "link": 95}]
    passing["outputs"] = [{"name": "m", "type": "MODEL"}]
    graph["nodes"].append(passing)
    link = next(link for link in graph["links"] if link[0] == link_into(graph, 3, "model"))
    graph["links"].append([95, link[1], link[2], 60, 0, "MODEL"])
    link[1:3] = [60, 0]
    assert request_from_workflow(graph).prompt == "from outside"


def test_a_subgraph_that_contains_itself_is_refused() -> None:
    graph = with_subgraph()
    definition_of(graph)["nodes"].append({"id": 7, "type": KIND})
    error = said(graph)
    assert error.field.startswith("workflow node 6:7")
    assert "deep" in error.allowed


def test_subgraphs_that_make_too_many_nodes_are_refused() -> None:
    graph = editor()
    graph["definitions"] = {
        "subgraphs": [
            {"id": f"level {level}", "nodes": [{"id": id, "type": f"level {level + 1}"} for id in range(40)]}
            for level in range(4)
        ]
    }
    graph["nodes"].append({"id": 70, "type": "level 0"})
    assert said(graph).field == "workflow nodes"


def test_what_is_missing_inside_is_named_with_its_place() -> None:
    graph = with_subgraph()
    editor_node(graph, 6)["inputs"][0]["link"] = None
    assert said(graph).field == "workflow node 6:6 (CLIPTextEncode) clip"
    graph = with_subgraph()
    definition_of(graph)["links"] = []
    assert "CONDITIONING" in str(said(graph)) or "link" in str(said(graph))
    graph = with_subgraph()
    graph["definitions"] = None
    assert said(graph).field == f"workflow node 6 ({KIND})"


def with_group(values: object = None) -> Any:
    """The default graph, whose prompt and latent stand in a group node."""
    graph = editor()
    encode, empty = editor_node(graph, 6), editor_node(graph, 5)
    clip = encode["inputs"][0]["link"]
    for node in (encode, empty):
        graph["nodes"].remove(node)
    group = {"nodes": [{**encode, "index": 0}, {**empty, "index": 1}], "links": [], "external": []}
    graph["extra"] = {"groupNodes": {"Start": group}}
    graph["nodes"].append(
        {
            "id": 70,
            "type": "workflow>Start",
            "mode": 0,
            "inputs": [{"name": "clip", "type": "CLIP", "link": clip}],
            "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING"}, {"name": "LATENT", "type": "LATENT"}],
            "widgets_values": values if values is not None else ["grouped", 256, 128, 2],
        }
    )
    for link in graph["links"]:
        if link[1] in (5, 6):
            link[1:3] = [70, 0 if link[1] == 6 else 1]
    return graph


def test_a_group_node_is_what_is_inside_with_its_own_values() -> None:
    graph = with_group()
    request = request_from_workflow(graph)
    assert (request.prompt, request.width, request.height, request.batch_size) == ("grouped", 256, 128, 2)
    assert {("70:0", 0), ("70:1", 0)} <= set(read_workflow(graph).places)


def test_a_group_nodes_widget_may_be_linked() -> None:
    graph = with_group()
    graph["nodes"].append({"id": 50, "type": "PrimitiveNode", "widgets_values": [64]})
    graph["links"].append([90, 50, 0, 70, 1, "INT"])
    widget = {"name": "width", "type": "INT", "link": 90, "widget": {"name": "width"}}
    editor_node(graph, 70)["inputs"].append(widget)
    assert request_from_workflow(graph).width == 64


def test_links_inside_a_group_are_followed_and_their_ends_are_not_shown() -> None:
    graph = editor(clip_skip=2)
    layer, encode = editor_node(graph, 10), editor_node(graph, 6)
    clip = layer["inputs"][0]["link"]
    for node in (layer, encode):
        graph["nodes"].remove(node)
    group = {"nodes": [layer, encode], "links": [[0, 0, 1, 0, 10, "CLIP"]], "external": [[0, 0, "CLIP"]]}
    graph["extra"] = {"groupNodes": {"a/b": group}}
    graph["nodes"].append(
        {
            "id": 70,
            "type": "workflow/a/b",
            "inputs": [{"name": "clip", "type": "CLIP", "link": clip}],
            "outputs": [{"name": "CLIP", "type": "CLIP"}, {"name": "CONDITIONING", "type": "CONDITIONING"}],
            "widgets_values": [-3, "grouped"],
        }
    )
    for link in graph["links"]:
        if link[1] in (10, 6):
            link[1:3] = [70, 0 if link[1] == 10 else 1]
    request = request_from_workflow(graph)
    assert (request.clip_skip, request.prompt) == (3, "grouped")


def test_a_group_node_that_cannot_be_read_is_refused_by_name() -> None:
    assert said(with_group(values=["too few"])).field == "workflow node 70 (workflow>Start) widgets_values"
    graph = with_group()
    graph["extra"] = {}
    error = said(graph)
    assert error.field == "workflow node 70 (workflow>Start)"
    assert "Start" in str(error.value)


def test_inputs_and_outputs_that_nothing_uses_change_nothing() -> None:
    graph = with_subgraph()
    definition = graph["definitions"]["subgraphs"][0]
    unused = [{"name": f"more {number}"} for number in range(1000)]
    definition["inputs"] += unused
    definition["outputs"] += unused
    editor_node(graph, 6)["inputs"] += [{"name": f"own {number}", "link": None} for number in range(1000)]
    assert request_from_workflow(graph) == request_from_workflow(with_subgraph())


def test_a_large_definition_is_not_read_again_and_again() -> None:
    graph = with_subgraph()
    graph["definitions"]["subgraphs"][0]["extra"] = [0] * 100_000
    assert request_from_workflow(graph) == request_from_workflow(with_subgraph())
    graph["nodes"] += [{"id": 100 + number, "type": KIND} for number in range(5)]
    error = said(graph)
    assert (error.field, error.value) == (f"workflow node 103 ({KIND})", KIND)
    assert "values in all" in error.allowed
