"""Tests what the history and the list of jobs say about a job."""

from __future__ import annotations

import dataclasses

import pytest

from server.dialects.comfyui.history import ending, history_item, in_history, job_item
from server.dialects.comfyui.stream import Stream
from server.job import Failure
from tests.server.dialects.comfyui.jobs import course, job_of, picture


@pytest.mark.parametrize(
    ("kind", "node"), [("generation_failed", "KSampler"), ("broken_checkpoint", "CheckpointLoaderSimple")]
)
def test_a_failure_is_laid_at_its_node(kind: str, node: str) -> None:
    job = job_of("failed", failure=Failure(kind=kind, message="why"))
    word, data = ending(job, course(job.extra["prompt"]))
    assert (word, data["node_type"], data["exception_type"], data["exception_message"]) == (
        "execution_error",
        node,
        kind,
        "why",
    )
    assert data["timestamp"] == 13250
    assert next(Stream(job).finish()) == (word, data)


def test_a_failure_that_names_a_node_is_laid_there_with_the_value() -> None:
    failure = Failure(kind="broken_checkpoint", message="why", field="workflow node 6 (CLIPTextEncode) text")
    job = job_of("failed", failure=failure)
    nodes = job.extra["prompt"]
    _, data = ending(job, course(nodes))
    assert (data["node_id"], data["node_type"]) == ("6", "CLIPTextEncode")
    assert data["current_inputs"] == {"text": [nodes["6"]["inputs"]["text"]]}
    assert "6" not in data["executed"]


def test_what_was_taken_out_of_the_queue_is_no_history() -> None:
    assert not in_history(job_of("cancelled", started=None))
    assert in_history(job_of("cancelled"))
    assert not in_history(job_of("running"))
    assert job_item(job_of("cancelled", started=None), detailed=True)["status"] == "cancelled"


def test_numbers() -> None:
    job = job_of("succeeded", pictures=(picture(),))
    assert history_item(job)["prompt"][0] == 4
    assert history_item(dataclasses.replace(job, extra={**job.extra, "front": True}))["prompt"][0] == -4
    assert history_item(dataclasses.replace(job, extra={**job.extra, "number": 0.5}))["prompt"][0] == 0.5
