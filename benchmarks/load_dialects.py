"""One call in each dialect, as its clients make it: from the request to the pictures in hand; and how it is cancelled.

Knows no schedule and no clock but the pauses between two looks at a job.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.load_plan import Call, Dialect
from engine.formats.comfyui import api_workflow
from engine.formats.infotext import SAMPLER_LABELS

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_ANSWERS = ("url", "base64", "png")


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {_kind(text)}".strip())
        self.status = status


class Cancelled(Exception):
    """The job was cancelled."""


class WrongAnswer(Exception):
    """The answer is not what was asked for."""


@dataclass(eq=False)
class Caller:
    """One client of the server."""

    http: httpx.AsyncClient
    model: str
    """The default checkpoint's name, which Replicate's callers must give."""
    file: str
    """Its file, which ComfyUI's callers must give."""
    fetches: bool
    """Whether it gets the pictures whose URLs it is told."""

    async def ask(self, method: str, path: str, call: Call, **named: Any) -> httpx.Response:
        headers = named.pop("headers", {}) | ({"Idempotency-Key": call.key} if call.key else {})
        answer = await self.http.request(method, path, headers=headers, **named)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.text)
        return answer

    async def see(self, call: Call, urls: list[str]) -> None:
        """Get the pictures at ``urls`` and look at them."""
        if len(urls) != call.pictures:
            raise WrongAnswer(f"{call.dialect}: {len(urls)} pictures instead of {call.pictures}")
        for url in urls if self.fetches else ():
            look(call, (await self.ask("GET", url, call)).content)


@dataclass(eq=False)
class Course:
    """How far a call has come."""

    accepted: bool | None = None
    """None: not known."""


def look(call: Call, picture: bytes) -> None:
    """Raises ``WrongAnswer`` for anything but a PNG of the size that was asked for."""
    size = struct.unpack(">II", picture[16:24]) if picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 24 else None
    if size != (call.request.width, call.request.height):
        raise WrongAnswer(f"{call.dialect}: {len(picture)} bytes that are no PNG of the size that was asked for")


async def native(caller: Caller, call: Call, course: Course) -> None:
    form = _ANSWERS[call.number % 3]
    if form == "png" and call.pictures > 1:
        form = "base64"
    body = _parameters(call) | {"count": call.pictures, "response_format": form}
    answer = await caller.ask("POST", "/api/v1/generate", call, json=body, headers={"X-Job-Id": call.id})
    course.accepted = True
    if form == "png":
        look(call, answer.content)
        return
    images = answer.json()["images"]
    if form == "base64":
        _look_at_all(call, [image["base64"] for image in images])
    else:
        await caller.see(call, [image["url"] for image in images])


async def asynchronous(caller: Caller, call: Call, course: Course) -> None:
    body = _parameters(call) | {"count": call.pictures, "async": True}
    answer = await caller.ask("POST", "/api/v1/generate", call, json=body, headers={"X-Job-Id": call.id})
    course.accepted = True
    job = await _end(caller, answer.json()["events_url"])
    if job["state"] == "cancelled":
        raise Cancelled
    if job["state"] != "succeeded":
        raise WrongAnswer(f"async: {job['state']}, {job['error']}")
    await caller.see(call, [image["url"] for image in job["images"]])


async def _end(caller: Caller, events_url: str) -> dict[str, Any]:
    """The job, from the last event of its stream."""
    async with caller.http.stream("GET", events_url) as stream:
        kind = ""
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind == "finished":
                job: dict[str, Any] = json.loads(value)["job"]
                return job
    raise WrongAnswer("async: the events ended before the job")


async def openai(caller: Caller, call: Call, course: Course) -> None:
    form = "url" if call.number % 2 else "b64_json"
    own = _parameters(call)
    size = f"{own.pop('width')}x{own.pop('height')}"
    body = own | {"size": size, "n": call.pictures, "response_format": form}
    answer = await caller.ask("POST", "/v1/images/generations", call, json=body, headers={"X-Job-Id": call.id})
    course.accepted = True
    data = answer.json()["data"]
    if form == "url":
        await caller.see(call, [each["url"] for each in data])
    else:
        _look_at_all(call, [each["b64_json"] for each in data])


async def sdapi(caller: Caller, call: Call, course: Course) -> None:
    names = ("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale", "scheduler", "seed")
    body: dict[str, Any] = {name: getattr(call.request, name) for name in names}
    body |= {"sampler_name": SAMPLER_LABELS[call.request.sampler], "n_iter": call.pictures, "force_task_id": call.id}
    answer = await caller.ask("POST", "/sdapi/v1/txt2img", call, json=body)
    course.accepted = True
    _look_at_all(call, answer.json()["images"])


async def comfyui(caller: Caller, call: Call, course: Course) -> None:
    graph = api_workflow(dataclasses.replace(call.request, batch_size=call.pictures), checkpoint_file=caller.file)
    await caller.ask("POST", "/prompt", call, json={"prompt": graph, "prompt_id": call.id, "client_id": call.id})
    course.accepted = True
    if call.manner == "cancel":  # the history does not know those that never began
        job = await _done(caller, f"/api/jobs/{call.id}", call, lambda told: told["status"] in _COMFYUI_ENDS)
        if job["status"] == "cancelled":
            raise Cancelled
    told = (await _done(caller, f"/history/{call.id}", call, bool))[call.id]
    images = [image for output in told["outputs"].values() for image in output["images"]]
    await caller.see(call, [str(httpx.URL("/view", params=image)) for image in images])


async def replicate(caller: Caller, call: Call, course: Course) -> None:
    own = _parameters(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    body = {"version": caller.model, "input": given | {"num_outputs": call.pictures}}
    answer = await caller.ask("POST", "/v1/predictions", call, json=body, headers={"X-Job-Id": call.id})
    course.accepted = True
    told = await _done(caller, answer.json()["urls"]["get"], call, lambda told: told["status"] in _REPLICATE_ENDS)
    if told["status"] == "canceled":
        raise Cancelled
    if told["status"] != "succeeded":
        raise WrongAnswer(f"replicate: {told['status']}, {told['error']}")
    await caller.see(call, told["output"] if isinstance(told["output"], list) else [told["output"]])


async def huggingface(caller: Caller, call: Call, course: Course) -> None:
    own = _parameters(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    body = {"inputs": given.pop("prompt"), "parameters": given}
    headers = {"X-Job-Id": call.id, "Accept": "image/png"}
    answer = await caller.ask("POST", "/hf", call, json=body, headers=headers)
    course.accepted = True
    look(call, answer.content)


async def cancel(caller: Caller, call: Call) -> None:
    """Stop the job as the dialect does it; as the native API does it where the dialect has no words for that."""
    if call.dialect == "sdapi":
        await caller.ask("POST", "/sdapi/v1/interrupt", call, params={"id_task": call.id})
    elif call.dialect == "comfyui":
        await caller.ask("POST", "/interrupt", call, json={"prompt_id": call.id})
    elif call.dialect == "replicate":
        await caller.ask("POST", f"/v1/predictions/{call.id}/cancel", call)
    else:
        await caller.ask("DELETE", f"/api/v1/jobs/{call.id}", call)


ASK: dict[Dialect, Callable[[Caller, Call, Course], Awaitable[None]]] = {
    "native": native,
    "async": asynchronous,
    "openai": openai,
    "sdapi": sdapi,
    "comfyui": comfyui,
    "replicate": replicate,
    "huggingface": huggingface,
}

_COMFYUI_ENDS = ("completed", "failed", "cancelled")
_REPLICATE_ENDS = ("succeeded", "failed", "canceled")


async def _done(caller: Caller, path: str, call: Call, done: Callable[[Any], bool]) -> Any:
    """Look again and again, more and more seldom."""
    pause = _FIRST_PAUSE
    while not done(told := (await caller.ask("GET", path, call)).json()):
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return told


def _parameters(call: Call) -> dict[str, Any]:
    """Those that vary, under our own names."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale", "sampler", "scheduler", "seed")
    return {name: getattr(call.request, name) for name in names}


def _look_at_all(call: Call, encoded: list[str]) -> None:
    if len(encoded) != call.pictures:
        raise WrongAnswer(f"{call.dialect}: {len(encoded)} pictures instead of {call.pictures}")
    for each in encoded:
        look(call, base64.b64decode(each))


def _kind(text: str) -> str:
    """What kind of error an answer's body tells of, in whichever dialect's words."""
    try:
        told = json.loads(text)
    except ValueError:
        return text[:60]
    for name in ("kind", "code", "type", "title", "error", "detail"):
        value = told.get(name) if isinstance(told, dict) else None
        if isinstance(value, dict):
            return _kind(json.dumps(value))
        if isinstance(value, str) and value:
            return value[:60]
    return text[:60]
