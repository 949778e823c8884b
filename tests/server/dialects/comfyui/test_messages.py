"""ComfyUI's graphs, messages and node signatures, apart from any server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import BadRequest, GenerationRequest
from engine.workflow import request_from_workflow
from engine.workflow.nodes import NODE_CLASSES, OUTPUT_CLASSES
from engine.workflow.reader import PARAMETER_INPUTS
from server.dialects.comfyui import object_info
from server.dialects.comfyui.broadcast import Broadcast
from server.dialects.comfyui.graph import Course, output_nodes
from server.dialects.comfyui.history import ending, history_item, in_history, job_item
from server.dialects.comfyui.sockets import Socket, Sockets
from server.dialects.comfyui.stream import Stream
from server.events import Event, Hub
from server.job import Failure, Job, Picture, State
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
        "requests": (GenerationRequest(model="m"),),
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


def progress(job: Job, stage: Any, step: int = 0, steps: int | None = 4) -> Event:
    return Event(number=1, kind="progress", job=job, stage=stage, step=step, steps=steps)


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
    "denoise": 0.5,
    "clip_skip": -3,
    "model": "another",
}
"""Values that ``graph_of`` does not have; 16 for the other inputs."""


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
    told = [data["node"] for kind, data in messages if kind == "executing"]
    assert told == [*course(job.extra["prompt"]).order, None]
    assert all(data["prompt_id"] == "j" for _, data in messages)


def test_a_stream_that_was_held_back_catches_up() -> None:
    job = job_of()
    stream = Stream(job)
    stream.note(progress(job, "sampling", 1))
    stream.note(progress(job, "sampling", 3))
    messages = list(stream.begin())
    assert stream.begun
    assert [kind for kind, _ in messages][:2] == ["execution_start", "execution_cached"]
    assert [data["value"] for kind, data in messages if kind == "progress"] == [3]


def test_a_sampler_that_does_not_know_its_steps() -> None:
    job = job_of()
    told = [data for kind, data in Stream(job).advance(progress(job, "sampling", 7, None)) if kind == "progress"]
    assert [(each["value"], each["max"]) for each in told] == [(7, 8)]


def picture(name: str = "a.png") -> Picture:
    return Picture(name=name, width=64, height=64, seed=1, request=0, index=0)


@pytest.mark.parametrize(
    ("kind", "node"), [("generation_failed", "KSampler"), ("broken_checkpoint", "CheckpointLoaderSimple")]
)
def test_a_failure_is_laid_at_its_node(kind: str, node: str) -> None:
    job = job_of("failed", failure=Failure(kind=kind, message="why"))
    word, told = ending(job, course(job.extra["prompt"]))
    assert (word, told["node_type"], told["exception_type"], told["exception_message"]) == (
        "execution_error",
        node,
        kind,
        "why",
    )
    assert told["timestamp"] == 13250
    assert next(Stream(job).finish()) == (word, told)


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


OFFER = object_info.Offer(models=["m"], most={"steps": 30, "width": 10**6})


def test_the_ranges_end_where_the_servers_limits_do() -> None:
    def most(class_type: str, input: str) -> int:
        config = object_info.input_config(class_type, input, OFFER)
        assert config is not None
        return int(config[1]["max"])

    assert (most("KSampler", "steps"), most("EmptyLatentImage", "width")) == (30, 16384)


def test_the_signatures_are_those_of_the_engines_nodes() -> None:
    for name, known in NODE_CLASSES.items():
        info = object_info.node(name, OFFER)
        assert info is not None
        required = info["input"]["required"]
        assert sorted(required) == sorted(known.inputs) == sorted(info["input_order"]["required"])
        assert tuple(info["output"]) == known.outputs
        assert info["output_node"] == (name in OUTPUT_CLASSES)
        assert {each: required[each][0] for each in known.links} == dict(known.links)
    assert object_info.node("Nope", OFFER) is None


@pytest.mark.parametrize(("parameter", "input"), [(name, at[1]) for name, at in PARAMETER_INPUTS.items()])
def test_the_ranges_are_those_of_the_engine(parameter: str, input: str) -> None:
    if input in ("sampler_name", "scheduler", "ckpt_name", "text"):
        return
    limits = object_info.RANGES[input][1]
    step = limits.get("step", 1)
    for value in {limits["min"], limits["max"], limits["default"]}:
        GenerationRequest(**{parameter: -value if parameter == "clip_skip" else value})
    for value in (limits["min"] - step, limits["max"] + step):
        if parameter == "clip_skip":
            graph = graph_of(clip_skip=2)
            graph["10"]["inputs"][input] = value
            with pytest.raises(BadRequest):
                request_from_workflow(graph)
        elif (parameter, value) != ("seed", -1):  # in a request it asks for a fresh one; in a graph it is refused
            with pytest.raises(BadRequest):
                GenerationRequest(**{parameter: value})


class _Websocket:
    """Takes messages only while the test lets it."""

    query_params: ClassVar = {"clientId": "c"}

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.sent: list[str | bytes] = []
        self.closed: int | None = None
        self._gone = asyncio.Event()

    async def accept(self) -> None: ...

    async def send_text(self, text: str) -> None:
        await self.open.wait()
        self.sent.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.closed = code
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "websocket.disconnect"}


def test_a_slow_client_misses_steps_but_no_ends_and_is_let_go_of_in_the_end() -> None:
    async def carry(ends: int) -> _Websocket:
        websocket = _Websocket()
        socket = Socket(websocket, "c")  # type: ignore[arg-type]
        sockets = Sockets()
        sockets.join(socket)
        carrying = asyncio.create_task(socket.carry())
        for number in range(ends):
            for _ in range(5):
                sockets.send("c", "progress", number)
            sockets.send("c", "executed", number)
            await asyncio.sleep(0)
        websocket.open.set()
        while len(websocket.sent) < ends and websocket.closed is None:
            await asyncio.sleep(0)
        if websocket.closed is None:
            await websocket.close(1000, "")
        await carrying
        return websocket

    patient = asyncio.run(carry(500))
    told = [json.loads(text) for text in patient.sent]
    assert [each["data"] for each in told if each["type"] == "executed"] == list(range(500))
    assert len(told) < 700
    assert asyncio.run(carry(6000)).closed == 1013


class _Jobs:
    """As much of the queue as messages need."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.all_events = self.hub.subscribe_all

    async def find(self, **_: object) -> list[Job]:
        return []

    async def count(self, **_: object) -> dict[State, int]:
        return {}


def test_no_client_hears_of_its_prompt_before_it_is_answered() -> None:
    async def hear() -> tuple[list[str], list[str]]:
        jobs, websocket = _Jobs(), _Websocket()
        services: Any = SimpleNamespace(jobs=jobs, closing=False)
        broadcast = Broadcast(services)
        websocket.open.set()
        serving = asyncio.create_task(broadcast.serve(websocket))  # type: ignore[arg-type]

        def heard() -> list[str]:
            return [kind for text in websocket.sent if (kind := json.loads(text)["type"]) != "status"]

        async def until(count: int) -> None:
            while len(websocket.sent) < count:
                await asyncio.sleep(0)

        await until(1)
        job = job_of("succeeded", pictures=(picture(),))
        with broadcast.answering("j", "c"):
            jobs.hub.started(job)
            jobs.hub.finished(job)
            for _ in range(200):  # turns of the loop: telling takes no more than a few
                await asyncio.sleep(0)
            before = heard()
        while "executed" not in heard():
            await asyncio.sleep(0.001)
        services.closing = True
        jobs.hub.close()
        await websocket.close(1000, "")
        await serving
        return before, heard()

    before, after = asyncio.run(hear())
    assert before == []
    assert after[:3] == ["execution_start", "execution_cached", "executing"]


def test_what_is_kept_for_a_client_that_is_away_does_not_grow_for_ever() -> None:
    now = 0.0
    sockets = Sockets(clock=lambda: now)
    for client in range(1500):
        sockets.send(str(client), "executed", 1, keep=True)
    for number in range(1500):
        sockets.send("busy", "executed", number, keep=True)
    sockets.send("busy", "progress", 0)
    assert list(sockets.missed("0")) == []
    assert len(list(sockets.missed("1499"))) == 1
    assert list(sockets.missed("1499")) == []
    kept = [json.loads(text)["data"] for text in sockets.missed("busy")]
    assert kept == list(range(500, 1500))
    now = 601.0
    assert list(sockets.missed("1498")) == []


def test_nor_for_all_of_them_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.dialects.comfyui.sockets._MOST_MISSED_TOGETHER", 5)
    sockets = Sockets()
    for client in ("first", "second", "first", "third"):
        for number in range(2):
            sockets.send(client, "executed", number, keep=True)
    assert [len(sockets.missed(client)) for client in ("second", "first", "third")] == [0, 0, 2]
    for number in range(5):
        sockets.send("second", "executed", number, keep=True)
    assert len(sockets.missed("second")) == 5
