"""The editor form of a graph: newer and older files, reroutes, primitives, bypassed and muted nodes, subgraphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.formats.comfyui import request_from_workflow
from engine.request import GenerationRequest
from tests.graphs import (
    FILE,
    SHIPPED,
    K,
    add_between,
    editor,
    editor_node,
    link_into,
    refused,
)


@pytest.mark.parametrize("ids", [str, lambda number: number])
@pytest.mark.parametrize("as_objects", [False, True])
def test_newer_editor_files_are_read(ids: Callable[[int], object], as_objects: bool) -> None:
    graph = editor(clip_skip=2, seed=0)
    for node in graph["nodes"]:
        node["id"] = ids(node["id"])
        for name in ("text", "seed"):  # newer editors list every widget among the inputs too
            node["inputs"].append({"name": name, "type": "STRING", "widget": {"name": name}, "link": None})
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    graph["links"] = [[number, ids(a), b, ids(c), d, kind] for number, a, b, c, d, kind in graph["links"]]
    if as_objects:
        graph["links"] = [dict(zip(keys, link, strict=True)) for link in graph["links"]]
    assert request_from_workflow(graph) == GenerationRequest(clip_skip=2, seed=0, model=FILE)


def test_widget_values_may_be_named() -> None:
    graph = editor(steps=7)
    for node, names in ((3, "seed control_after_generate steps cfg sampler_name scheduler denoise"), (6, "text")):
        entry = editor_node(graph, node)
        entry["widgets_values"] = dict(zip(names.split(), entry["widgets_values"], strict=True))
    assert request_from_workflow(graph).steps == 7


def test_a_sampler_may_lack_the_editors_own_widget() -> None:
    graph = editor(steps=7)
    del editor_node(graph, 3)["widgets_values"][1]
    assert request_from_workflow(graph).steps == 7


def test_widgets_that_extensions_add_behind_a_nodes_own_are_left_out() -> None:
    for more in (["auto"], ["auto", True, {"a": 1}]):
        graph = editor(steps=7)
        editor_node(graph, 3)["widgets_values"] += more
        editor_node(graph, 5)["widgets_values"] += more
        assert request_from_workflow(graph).steps == 7
        del editor_node(graph, 3)["widgets_values"][1]
        assert request_from_workflow(graph).steps == 7


def test_a_graph_without_a_known_output_names_what_is_there() -> None:
    graph = editor()
    next(each for each in graph["nodes"] if each["type"] == "SaveImage")["type"] = "SaveWithMetadata"
    graph["nodes"].append({"id": 60, "type": "Note", "mode": 0})
    refused(graph, "workflow", "SaveImage or PreviewImage", "not known here: SaveWithMetadata")
    for node in graph["nodes"]:
        node["mode"] = 2
    refused(graph, "workflow", "SaveImage or PreviewImage")


def test_widget_values_that_do_not_fit_are_refused() -> None:
    for values in ([1, 2, 3], "x", 5, []):
        graph = editor()
        editor_node(graph, 3)["widgets_values"] = values
        refused(graph, f"{K} widgets_values", "seed")


def test_reroutes_are_followed_muted_or_not() -> None:
    graph = editor()
    add_between(graph, link_into(graph, 3, "model"), {"id": 50, "type": "Reroute", "kind": "*"})
    add_between(graph, link_into(graph, 3, "model"), {"id": 51, "type": "Reroute", "kind": "*", "mode": 2})
    assert request_from_workflow(graph) == SHIPPED


def test_reroutes_in_a_circle_or_open_ended_are_refused() -> None:
    graph = editor()
    add_between(graph, link_into(graph, 3, "model"), {"id": 50, "type": "Reroute", "kind": "*"})
    inward = editor_node(graph, 50)["inputs"][0]["link"]
    next(link for link in graph["links"] if link[0] == inward)[1] = 50
    refused(graph, f"{K} model", "circle")
    editor_node(graph, 50)["inputs"] = []
    refused(graph, f"{K} model")


def test_a_primitive_gives_its_value() -> None:
    graph = editor()
    graph["nodes"].append({"id": 50, "type": "PrimitiveNode", "widgets_values": [99, "randomize"], "mode": 0})
    graph["links"].append([90, 50, 0, 3, 4, "INT"])
    editor_node(graph, 3)["inputs"].append({"name": "renamed", "type": "INT", "link": 90, "widget": {"name": "steps"}})
    assert request_from_workflow(graph).steps == 99
    add_between(graph, 90, {"id": 51, "type": "Reroute", "kind": "*"})
    assert request_from_workflow(graph).steps == 99


def test_a_number_from_a_node_that_is_not_there_is_refused() -> None:
    graph = editor()
    graph["nodes"].append({"id": 50, "type": "Seed Everywhere", "mode": 0})
    graph["links"].append([90, 50, 0, 3, 4, "INT"])
    editor_node(graph, 3)["inputs"].append({"name": "seed", "type": "INT", "link": 90, "widget": {"name": "seed"}})
    refused(graph, "workflow node 50 (Seed Everywhere)", "classes")


def test_a_widget_keeps_its_value_behind_a_bypassed_node_but_not_behind_a_muted_one() -> None:
    graph = editor(steps=7)
    graph["nodes"].append({"id": 50, "type": "Some Number", "mode": 4, "outputs": [{"type": "INT"}]})
    graph["links"].append([90, 50, 0, 3, 4, "INT"])
    editor_node(graph, 3)["inputs"].append({"name": "steps", "type": "INT", "link": 90, "widget": {"name": "steps"}})
    assert request_from_workflow(graph).steps == 7
    editor_node(graph, 50)["mode"] = 2
    refused(graph, f"{K} steps", "node 50 (Some Number), muted")


def test_a_bypassed_node_hands_on_what_has_the_right_type() -> None:
    graph = editor(clip_skip=2)
    editor_node(graph, 10)["mode"] = 4
    assert request_from_workflow(graph).clip_skip == 1
    lora = {"id": 50, "type": "LoraLoaderStack", "mode": 4}
    add_between(graph, link_into(graph, 3, "model"), lora)
    assert request_from_workflow(graph) == SHIPPED
    editor_node(graph, 50)["mode"] = 0
    refused(graph, "workflow node 50 (LoraLoaderStack)", "LoraLoader")


def test_a_bypassed_node_prefers_the_input_opposite_its_output() -> None:
    graph = editor(prompt="one", negative_prompt="two")
    entry = {"id": 50, "type": "Combine", "mode": 4, "outputs": [{"type": "CONDITIONING"}, {"type": "CONDITIONING"}]}
    graph["nodes"].append(entry)
    entry["inputs"] = [
        {"name": "a", "type": "CONDITIONING", "link": 91},
        {"name": "b", "type": "CONDITIONING", "link": 92},
    ]
    graph["links"] += [[91, 6, 0, 50, 0, "CONDITIONING"], [92, 7, 0, 50, 1, "CONDITIONING"]]
    link = next(entry for entry in graph["links"] if entry[0] == link_into(graph, 3, "positive"))
    link[1], link[2] = 50, 1
    assert request_from_workflow(graph).prompt == "two"


def test_bypassing_or_muting_what_is_needed_is_refused() -> None:
    for mode, node, at, state in (
        (4, 8, "workflow node 9 (SaveImage) images", "hands on no IMAGE"),
        (2, 8, "workflow node 9 (SaveImage) images", "muted"),
        (2, 6, f"{K} positive", "muted"),
        (2, 10, "workflow node 6 (CLIPTextEncode) clip", "muted"),
        (4, 3, "workflow node 8 (VAEDecode) samples", "KSampler"),
        (2, 9, "workflow", "active"),
        (4, 9, "workflow", "active"),
    ):
        graph = editor(clip_skip=2)
        editor_node(graph, node)["mode"] = mode
        refused(graph, at, state)


def test_notes_and_loose_ends_are_ignored() -> None:
    graph = editor()
    graph["nodes"] += [
        {"id": 60, "type": "Note", "widgets_values": ["{a|b}"]},
        {"id": 61, "type": "MarkdownNote"},
        {"id": 62, "type": "LoraLoader", "inputs": [{"name": "model", "link": 404}], "widgets_values": 5},
        {"id": 63, "type": "KSampler", "widgets_values": [1]},
        {"id": 64, "type": "PreviewImage", "inputs": [{"name": "images", "type": "IMAGE", "link": None}]},
        {"id": 65, "type": "6cdb9b3f-6a1c-4f0e-8f3b-2f6f5b1d8f10", "mode": 2},
    ]
    graph["links"] += [None, 5, [1], {}, [[], 5, {}, 7, 8]]
    assert request_from_workflow(graph) == SHIPPED


@pytest.mark.parametrize(
    "nodes", [[], [5], [{}], [{"id": 1}], [{"id": True, "type": "x"}], [{"id": 1, "type": "x"}] * 2]
)
def test_broken_node_lists_are_refused(nodes: object) -> None:
    refused({"nodes": nodes}, "workflow nodes")
