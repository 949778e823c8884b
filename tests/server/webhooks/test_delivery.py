"""Webhooks arrive at least once, whatever the receiver does, and are signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from server.backends.instant import InstantBackend
from server.job import Job
from server.store import Message
from server.webhooks import delivery as webhooks_module
from tests.server.queues import queue, request, until
from tests.server.receiver import Receiver, endless, hang_up, status
from tests.server.stores import values_in
from tests.server.webhooks.hooks import emptied, hook

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ....").decode()


async def test_each_moment_is_reported_in_its_order(tmp_path: Path, receiver: Receiver) -> None:
    async with queue(tmp_path) as own:
        job = await own.finish(request(seed=2**64 - 1), webhook=hook(receiver, "started", "output", "finished"))
        await own.finish(request(prompt="fail"), webhook=hook(receiver))
        await until(lambda: len(receiver.calls) == 4)
        await emptied(own)
        bodies = [call.json for call in receiver.calls if call.json["job_id"] == job.id]
        assert [each["type"] for each in bodies] == ["job.started", "job.output", "job.finished"]
        assert [each["status"] for each in bodies] == ["running", "running", "succeeded"]
        assert bodies[1]["images"] == bodies[2]["images"]
        assert bodies[2]["images"][0]["name"] == job.pictures[0].name
        assert bodies[2]["parameters"][0]["seed"] == 2**64 - 1
        (failed,) = [call.json for call in receiver.calls if call.json["job_id"] != job.id]
        assert (failed["status"], failed["error"]["kind"]) == ("failed", "generation_failed")
        assert {call.path for call in receiver.calls} == {"/hook?a=1"}
        assert len({call.headers["webhook-id"] for call in receiver.calls}) == 4


async def test_a_message_is_signed(tmp_path: Path, receiver: Receiver) -> None:
    async with queue(tmp_path, webhook_secret=SECRET) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: receiver.calls)
    (call,) = receiver.calls
    content = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    digest = hmac.new(b"a secret of thirty-two bytes ....", content, hashlib.sha256).digest()
    assert call.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    "misbehave", [status(500), status(302, Location="http://127.0.0.1/other"), status(404), hang_up]
)
async def test_what_is_not_taken_is_sent_again_under_the_same_id(
    tmp_path: Path, receiver: Receiver, misbehave: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    receiver.script = [misbehave, misbehave]

    async with queue(tmp_path) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: len(receiver.calls) == 3)
        await emptied(own)
    assert len({(call.headers["webhook-id"], call.body, call.path) for call in receiver.calls}) == 1


async def test_it_is_given_up_in_the_end(tmp_path: Path, receiver: Receiver) -> None:
    receiver.script = [status(500)] * 100

    async with queue(tmp_path, webhook_attempts=3) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: len(receiver.calls) == 3)
        await emptied(own)
        receiver.script = [status(410)] * 100
        await own.finish(webhook=hook(receiver))
        await until(lambda: len(receiver.calls) == 4)
        await emptied(own)
    assert len(receiver.calls) == 4  # who says that the address is gone for good is asked once


async def test_a_defect_of_ours_stops_no_later_webhooks(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one in a delivery, which is tried again after a pause, nor one in reading the outbox."""
    originals = {name: getattr(webhooks_module.Webhooks, name) for name in ("_attempt", "_start_due")}

    def failing_once(name: str) -> Any:
        def call(self: Any, *arguments: Any) -> Any:
            if name in left:
                left.remove(name)
                raise RuntimeError("unforeseen")
            return originals[name](self, *arguments)

        return call

    left = set(originals)
    for name in originals:
        monkeypatch.setattr(webhooks_module.Webhooks, name, failing_once(name))
    async with queue(tmp_path) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: receiver.calls)
        await emptied(own)
    assert (len(receiver.calls), left) == (1, set())


async def test_an_answers_body_is_not_read(tmp_path: Path, receiver: Receiver) -> None:
    receiver.script = [endless]

    async with queue(tmp_path) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: receiver.calls)
        await emptied(own)
    assert len(receiver.calls) == 1


async def test_deliveries_that_begin_together_share_one_client(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, original = list[Any](), webhooks_module._client

    def slowly() -> Any:
        time.sleep(0.2)
        made.append(original())
        return made[-1]

    monkeypatch.setattr(webhooks_module, "_client", slowly)

    async with queue(tmp_path) as own:
        await asyncio.gather(*(own.finish(request(seed=n), webhook=hook(receiver)) for n in range(3)))
        await emptied(own)
    assert (len(receiver.calls), len(made)) == (3, 1)


async def test_nothing_is_lost_over_a_crash(tmp_path: Path, receiver: Receiver) -> None:
    receiver.script = [status(503)] * 1000

    async with queue(tmp_path, webhook_attempts=10**6) as own:
        jobs = [await own.finish(request(seed=n), webhook=hook(receiver)) for n in range(3)]
        backend = own.backend
        backend.step_seconds = 3600
        running = await own.submit(webhook=hook(receiver))
        await until(lambda: len(backend.requests) == 4)
        await own.crash()
    receiver.script.clear()
    receiver.calls.clear()
    async with queue(tmp_path) as own:
        await own.end(running)
        await until(lambda: len(receiver.calls) >= 4)
        await emptied(own)
    ends = {(call.json["job_id"], call.headers["webhook-id"]) for call in receiver.calls}  # some may come twice
    assert sorted(job for job, _ in ends) == sorted([job.id for job in jobs] + [running.id])


async def test_a_receiver_that_does_not_answer_does_not_hold_up_others(tmp_path: Path, receiver: Receiver) -> None:
    writers: list[asyncio.StreamWriter] = []
    deaf = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{deaf.sockets[0].getsockname()[1]}/"
    async with queue(tmp_path) as own:
        waiting = [
            Message(id=f"m{n}", job=f"j{n}", client="x", moment="finished", url=url, body="{}", created=n, due=n)
            for n in range(5000)
        ]
        await own.store.post(waiting)
        await own.finish(webhook=hook(receiver))
        await until(lambda: receiver.calls)
        assert values_in(tmp_path, "SELECT COUNT(*) FROM outbox")[0] >= len(waiting)
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    deaf.close()
    await deaf.wait_closed()


async def test_a_dialect_writes_its_own_bodies(tmp_path: Path, receiver: Receiver) -> None:
    def body(job: Job, moment: str) -> dict[str, Any]:
        if job.extra.get("break"):
            raise KeyError("no such field")
        return {"id": job.id, "moment": moment}

    async with queue(tmp_path, bodies={"replicate": body}) as own:
        job = await own.finish(webhook=hook(receiver, form="replicate"))
        await until(lambda: receiver.calls)
        broken = await own.finish(webhook=hook(receiver, form="replicate"), extra={"break": True})
        await until(lambda: len(receiver.calls) == 2)
        assert receiver.calls[0].json == {"id": job.id, "moment": "finished"}
        assert (broken.state, receiver.calls[1].json["job_id"]) == ("succeeded", broken.id)


async def test_progress_is_reported_now_and_then(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=0.005)) as own:
        await own.finish(request(steps=40), webhook=hook(receiver, "progress", "finished"))
        await until(lambda: receiver.calls and receiver.calls[-1].json["type"] == "job.finished")
        kinds = [call.json["type"] for call in receiver.calls]
        assert kinds.count("job.finished") == 1
        assert 1 <= kinds.count("job.progress") < 40
