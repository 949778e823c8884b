"""Tests the order of a graph's nodes, and which of them a job is at."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.comfyui import request_from_workflow
from engine.formats.comfyui.flat import PARAMETER_INPUTS
from server.dialects.comfyui.stream import Stream
from tests.server.dialects.comfyui.client import graph_of
from tests.server.dialects.comfyui.jobs import course, job_of, picture, progress


def test_each_node_comes_behind_those_it_depends_on() -> None:
    graph = graph_of(clip_skip=2)
    order = course(graph).order
    assert sorted(order) == sorted(graph)
    for id in order:
        for value in graph[id]["inputs"].values():
            if isinstance(value, list):
                assert order.index(value[0]) < order.index(id)


@given(st.permutations(list(graph_of(clip_skip=2))))
def test_the_order_in_which_a_graph_is_written_does_not_matter(ids: list[str]) -> None:
    graph = graph_of(clip_skip=2)
    assert course({id: graph[id] for id in ids}).order == course(graph).order


def test_idle_and_unconnected_nodes_are_not_run() -> None:
    graph = graph_of()
    graph["11"] = {"class_type": "PreviewImage", "inputs": {}}
    graph["12"] = {"class_type": "EmptyLatentImage", "inputs": {}}
    assert not {"11", "12"} & set(course(graph).order)


def test_graphs_that_no_stack_could_hold() -> None:
    graph: dict[str, Any] = {
        str(n): {"class_type": "CLIPSetLastLayer", "inputs": {"clip": [n + 1, 0]}} for n in range(5000)
    }
    graph["out"] = {"class_type": "SaveImage", "inputs": {"images": ["0", 0]}}
    assert course(graph).order[-1] == "out"
    graph["4999"]["inputs"]["clip"] = ["0", 0]  # a circle
    assert len(course(graph).order) == 5001


OTHERS: dict[str, Any] = {
    "prompt": "a",
    "negative_prompt": "a",
    "sampler": "heun",
    "scheduler": "karras",
    "start_noise": "cuda",
    "step_noise": "cuda",
    "denoise": 0.5,
    "clip_skip": -3,
    "model": "another",
}
"""Values that ``graph_of`` does not have; for the inputs that are not listed, 16."""


@pytest.mark.parametrize("parameter", list(PARAMETER_INPUTS))
def test_every_parameter_has_its_node(parameter: str) -> None:
    graph = graph_of(clip_skip=2)
    before = request_from_workflow(graph)
    at = course(graph).node_of(parameter)
    assert at is not None
    graph[at[0]]["inputs"][at[1]] = OTHERS.get(parameter, 16)
    after = request_from_workflow(graph)
    names = [field.name for field in dataclasses.fields(before)]
    assert [name for name in names if getattr(before, name) != getattr(after, name)] == [parameter]


def test_stages_follow_the_course() -> None:
    one = course(graph_of())
    assert [one.class_of(one.order[one.place(stage)]) for stage in ("loading", "sampling", "decoding")] == [
        "CheckpointLoaderSimple",
        "KSampler",
        "VAEDecode",
    ]
    assert one.place("loading") <= one.place("waiting") < one.place("sampling") < one.place("decoding")


def test_a_stream_leaves_no_node_out_and_tells_none_twice() -> None:
    job = job_of()
    stream = Stream(job)
    messages = list(stream.begin())
    for event in (progress(job, "sampling", 2), progress(job, "loading"), progress(job, "sampling", 3)):
        messages += stream.advance(event)
    stream.job = dataclasses.replace(job, state="succeeded", pictures=(picture(),))
    messages += stream.finish()
    reported = [data["node"] for kind, data in messages if kind == "executing"]
    assert reported == [*course(job.extra["prompt"]).order, None]
    assert all(data["prompt_id"] == "j" for _, data in messages)


def test_nodes_that_have_nothing_to_do_are_reported_as_cached_and_not_as_executed() -> None:
    job = job_of()
    stream = Stream(job)
    messages = [*stream.begin(), *stream.advance(progress(job, "waiting", 0, 4, node="3", cached=("4", "6")))]
    messages += stream.advance(progress(job, "sampling", 4, node="3", cached=("4", "6", "7")))
    messages += stream.advance(progress(job, "decoding", 0, None, node="8", cached=("4", "6", "7")))
    assert [kind for kind, _ in messages][:3] == ["execution_start", "execution_cached", "executing"]
    assert messages[1][1]["nodes"] == ["4", "6"]
    assert [data["node"] for kind, data in messages if kind == "executing"] == ["7", "5", "3", "8"]


def test_a_stream_that_was_held_back_catches_up() -> None:
    job = job_of()
    stream = Stream(job)
    stream.note(progress(job, "sampling", 1))
    stream.note(progress(job, "sampling", 3))
    messages = list(stream.begin())
    assert stream.started
    assert [kind for kind, _ in messages][:2] == ["execution_start", "execution_cached"]
    assert [data["value"] for kind, data in messages if kind == "progress"] == [3]


def test_a_sampler_that_does_not_know_its_steps() -> None:
    job = job_of()
    reported = [data for kind, data in Stream(job).advance(progress(job, "sampling", 7, None)) if kind == "progress"]
    assert [(each["value"], each["max"]) for each in reported] == [(7, 8)]


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([], 4),
        ([("loading", 0, None)], 4),
        ([("sampling", 3, 4)], 4),
        ([("sampling", 3, 4), ("decoding", 4, 4)], 4),
        ([("sampling", 4, 4), ("decoding", 4, 4)], 4),
        ([("sampling", 1, 1)], 1),
        ([("sampling", 7, None)], 7),
        ([("decoding", 0, None)], 4),
    ],
)
@pytest.mark.parametrize("held_back", [False, True])
def test_all_steps_are_reported_once_before_the_sampler_is_left(
    events: list[tuple[Any, int, int | None]], last: int, held_back: bool
) -> None:
    job = job_of()
    stream = Stream(job)
    messages = [] if held_back else list(stream.begin())
    for event in events:
        if held_back:
            stream.note(progress(job, *event))
        else:
            messages += stream.advance(progress(job, *event))
    if held_back:
        messages += stream.begin()
    stream.job = dataclasses.replace(job, state="succeeded", pictures=(picture(),))
    messages += stream.finish()
    reported = [data for kind, data in messages if kind == "progress"]
    assert [(each["value"], each["max"]) for each in reported if each["value"] == each["max"]] == [(last, last)]
    full = messages.index(("progress", reported[-1]))
    assert reported[-1]["node"] == "3"
    entered = [data["node"] for kind, data in messages[:full] if kind == "executing"]
    assert entered == ["4", "6", "7", "5", "3"]


def test_a_prompt_that_is_stopped_reports_no_steps_that_it_never_made() -> None:
    job = job_of()
    stream = Stream(job)
    messages = [*stream.begin(), *stream.advance(progress(job, "sampling", 2))]
    stream.job = dataclasses.replace(job, state="cancelled")
    messages += stream.finish()
    assert [data["value"] for kind, data in messages if kind == "progress"] == [2]
