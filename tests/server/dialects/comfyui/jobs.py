"""Makes jobs and events as ComfyUI's dialect makes them, without a server."""

from __future__ import annotations

from typing import Any

from engine import GenerationRequest
from server.dialects.comfyui.graph import Course, output_nodes
from server.job import Job, Picture, State
from server.queue.events import Event
from server.task import Task
from tests.server.dialects.comfyui.client import graph_of


def course(graph: dict[str, Any]) -> Course:
    return Course(graph, tuple(output_nodes(graph)))


def job_of(state: State = "running", **values: Any) -> Job:
    graph = graph_of(steps=4)
    extra = {
        "prompt": graph,
        "outputs": output_nodes(graph),
        "extra_data": {"client_id": "c"},
        "number": None,
        "front": False,
        "previews": True,
    }
    defaults: dict[str, Any] = {
        "id": "j",
        "sequence": 4,
        "state": state,
        "tasks": (Task(request=GenerationRequest(model="m"), graph=graph, model="m"),),
        "dialect": "comfyui",
        "client": "127.0.0.1",
        "priority": 0,
        "created": 10.0,
        "started": 11.5,
        "finished": 13.25,
        "attempt": 1,
        "extra": extra,
    }
    return Job(**defaults | values)


def progress(job: Job, stage: Any, step: int = 0, steps: int | None = 4, **more: Any) -> Event:
    return Event(number=1, kind="progress", job=job, stage=stage, step=step, steps=steps, **more)


def picture(name: str = "a.png") -> Picture:
    return Picture(name=name, width=64, height=64, seed=1, request=0, index=0)
