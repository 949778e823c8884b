"""Tests messages to clients that are slow, early or not connected."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from server.dialects.comfyui.broadcast import Broadcast
from server.dialects.comfyui.sockets import Socket, Sockets
from server.job import State
from server.pictures.storage import NotRead, PictureFiles
from server.queue.hub import Hub
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, kinds
from tests.server.dialects.comfyui.jobs import job_of, picture


class _Websocket:
    """A websocket that takes messages only while the test lets it."""

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
    reported = [json.loads(text) for text in patient.sent]
    assert [each["data"] for each in reported if each["type"] == "executed"] == list(range(500))
    assert len(reported) < 700
    assert asyncio.run(carry(6000)).closed == 1013


def test_a_slow_client_does_not_miss_the_last_step() -> None:
    async def carry() -> list[dict[str, int]]:
        websocket = _Websocket()
        socket = Socket(websocket, "c")  # type: ignore[arg-type]
        sockets = Sockets()
        sockets.join(socket)
        carrying = asyncio.create_task(socket.carry())
        for step in range(1, 201):
            sockets.send("c", "progress", {"value": step, "max": 200})
        websocket.open.set()
        for _ in range(1000):  # turns of the loop: sending takes one for each message
            await asyncio.sleep(0)
        await websocket.close(1000, "")
        await carrying
        return [json.loads(text)["data"] for text in websocket.sent]

    reported = asyncio.run(carry())
    assert len(reported) < 100
    assert reported[-1] == {"value": 200, "max": 200}


class _Jobs:
    """As much of the queue as messages need."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.all_events = self.hub.subscribe_all

    async def find(self, search: object) -> Any:
        return SimpleNamespace(jobs=[], total=0)

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
            for _ in range(200):  # turns of the loop: reporting takes no more than a few
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


def test_a_picture_that_is_gone_does_not_hold_up_its_client(server: RunningServer) -> None:
    graph = graph_of()
    graph["9"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}}
    read = PictureFiles.read

    async def fail(files: PictureFiles, name: str) -> bytes:
        raise NotRead("Stale file handle")

    with pytest.MonkeyPatch.context() as patched, Comfy(server) as comfy:
        patched.setattr(PictureFiles, "read", fail)
        first = comfy.until_done(comfy.queue(graph))
        patched.setattr(PictureFiles, "read", read)
        second = comfy.until_done(comfy.queue(graph))
    assert kinds(first)[-2:] == kinds(second)[-2:] == ["execution_success", "executing"]
    pngs = [[each for each in messages if isinstance(each, bytes) and b"PNG" in each] for messages in (first, second)]
    assert [len(each) for each in pngs] == [0, 1]
