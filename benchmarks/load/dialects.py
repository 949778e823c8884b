"""Makes one call in each dialect as its clients make it, from the request to the downloaded pictures, and cancels it.

Knows no schedule, and no clock but the pauses between two polls of a job.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

from benchmarks.load.calls import LORA, Call, Dialect
from engine import Lora
from engine.formats.infotext import SAMPLER_LABELS

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_PICTURES_IN = 6
DENOISE = 0.75
"""The share of the schedule that calls from a picture run."""

_ANSWERS = ("url", "base64", "png")


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {_kind(text)}".strip())
        self.status = status


class JobCancelled(Exception):
    """The job was cancelled."""


class WrongAnswer(Exception):
    """The server's answer is not what the call asked for."""


@dataclass(eq=False)
class Caller:
    """One client of the server."""

    http: httpx.AsyncClient
    model: str
    """Name of the default checkpoint, which callers of Replicate's dialect must send."""
    file: str
    """File of the default checkpoint, which callers of ComfyUI's dialect must send."""
    fetches: bool
    """Whether it downloads the pictures whose URLs it receives."""

    async def ask(self, method: str, path: str, call: Call, **named: Any) -> httpx.Response:
        """Send one HTTP request of the call. Raises ``Refused`` for an error status."""
        headers = named.pop("headers", {}) | ({"Idempotency-Key": call.key} if call.key else {})
        answer = await self.http.request(method, path, headers=headers, **named)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.text)
        return answer

    async def see(self, call: Call, urls: list[str]) -> None:
        """Download the pictures at ``urls`` and check them. Raises ``WrongAnswer``."""
        if len(urls) != call.made:
            raise WrongAnswer(f"{call.dialect}: {len(urls)} pictures instead of {call.made}")
        for url in urls if self.fetches else ():
            check(call, (await self.ask("GET", url, call)).content)


@dataclass(eq=False)
class CallState:
    """What is known of a call on its way."""

    accepted: bool | None = None
    """Whether the server accepted it; None if that is not known."""


def check(call: Call, picture: bytes) -> None:
    """Raise ``WrongAnswer`` unless ``picture`` is a PNG of the size that the call asked for."""
    size = struct.unpack(">II", picture[16:24]) if picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 24 else None
    if size != (call.request.width, call.request.height):
        raise WrongAnswer(f"{call.dialect}: {len(picture)} bytes are not a PNG of the size that the call asked for")


async def native(caller: Caller, call: Call, state: CallState) -> None:
    """Ask for the pictures as URLs, base64 or a PNG body, by turns, and wait for them."""
    form = _ANSWERS[call.number % 3]
    if form == "png" and call.pictures > 1:
        form = "base64"
    body = await _native_body(caller, call) | {"count": call.pictures, "response_format": form}
    answer = await caller.ask("POST", "/api/v1/generate", call, json=body, headers={"X-Job-Id": call.id})
    state.accepted = True
    if form == "png":
        check(call, answer.content)
        return
    images = answer.json()["images"]
    if form == "base64":
        _check_all(call, [image["base64"] for image in images])
    else:
        await caller.see(call, [image["url"] for image in images])


async def asynchronous(caller: Caller, call: Call, state: CallState) -> None:
    """Post a job with ``async`` and follow its events to the end."""
    body = await _native_body(caller, call) | {"count": call.pictures, "async": True}
    answer = await caller.ask("POST", "/api/v1/generate", call, json=body, headers={"X-Job-Id": call.id})
    state.accepted = True
    job = await _end(caller, answer.json()["events_url"])
    if job["state"] == "cancelled":
        raise JobCancelled
    if job["state"] != "succeeded":
        raise WrongAnswer(f"async: {job['state']}, {job['error']}")
    await caller.see(call, [image["url"] for image in job["images"]])


async def _native_body(caller: Caller, call: Call) -> dict[str, Any]:
    """Hand a picture in with the call, or, by turns, before it."""
    parts: dict[str, Any] = {}
    if call.subject == "lora":
        parts = {"loras": [{"name": LORA}]}
    elif call.subject == "image" and call.number % 2:
        parts = {"image": base64.b64encode(picture_of(call)).decode(), "denoise": DENOISE}
    elif call.subject == "image":
        files = {"image": ("a.png", picture_of(call), "image/png")}
        answer = await caller.ask("POST", "/api/v1/inputs", call, files=files)
        parts = {"image": answer.json()["id"], "denoise": DENOISE}
    return _parameters(call) | parts


async def _end(caller: Caller, events_url: str) -> dict[str, Any]:
    """Read the job's events to the last one and return the job that it holds."""
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


async def openai(caller: Caller, call: Call, state: CallState) -> None:
    """Ask OpenAI's Images endpoint, for URLs and base64 by turns."""
    form = "url" if call.number % 2 else "b64_json"
    own = _parameters(call)
    size = f"{own.pop('width')}x{own.pop('height')}"
    body = own | {"size": size, "n": call.pictures, "response_format": form}
    headers = {"X-Job-Id": call.id}
    if call.subject == "image":
        fields = {name: str(value) for name, value in (body | {"strength": DENOISE}).items()}
        files = {"image": ("a.png", picture_of(call), "image/png")}
        answer = await caller.ask("POST", "/v1/images/edits", call, data=fields, files=files, headers=headers)
    else:
        answer = await caller.ask("POST", "/v1/images/generations", call, json=body, headers=headers)
    state.accepted = True
    data = answer.json()["data"]
    if form == "url":
        await caller.see(call, [each["url"] for each in data])
    else:
        _check_all(call, [each["b64_json"] for each in data])


async def sdapi(caller: Caller, call: Call, state: CallState) -> None:
    """Ask AUTOMATIC1111's txt2img endpoint, or img2img."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale", "scheduler", "seed")
    body: dict[str, Any] = {name: getattr(call.request, name) for name in names}
    body |= {"sampler_name": SAMPLER_LABELS[call.request.sampler], "n_iter": call.pictures, "force_task_id": call.id}
    route = "txt2img"
    if call.subject == "lora":
        body["prompt"] += f"<lora:{LORA}:1>"
    elif call.subject == "image":
        route = "img2img"
        body |= {"init_images": [base64.b64encode(picture_of(call)).decode()], "denoising_strength": DENOISE}
    answer = await caller.ask("POST", f"/sdapi/v1/{route}", call, json=body)
    state.accepted = True
    images = answer.json()["images"]
    if call.manner == "cancel" and len(images) < call.made:  # an interrupted call has the pictures that were done
        raise JobCancelled
    _check_all(call, images)


async def comfyui(caller: Caller, call: Call, state: CallState) -> None:
    """Post a graph as ComfyUI's clients do, and poll its history."""
    graph = await _graph(caller, call)
    await caller.ask("POST", "/prompt", call, json={"prompt": graph, "prompt_id": call.id, "client_id": call.id})
    state.accepted = True
    if call.manner == "cancel":  # the history does not list prompts that never started
        job = await _done(caller, f"/api/jobs/{call.id}", call, lambda job: job["status"] in _COMFYUI_ENDS)
        if job["status"] == "cancelled":
            raise JobCancelled
    entry = (await _done(caller, f"/history/{call.id}", call, bool))[call.id]
    images = [image for output in entry["outputs"].values() for image in output["images"]]
    await caller.see(call, [str(httpx.URL("/view", params=image)) for image in images])


async def _graph(caller: Caller, call: Call) -> dict[str, Any]:
    """Upload the picture that the graph starts from, if it does."""
    request = dataclasses.replace(call.request, batch_size=call.pictures, model=caller.file)
    if call.subject == "lora":
        request = dataclasses.replace(request, loras=(Lora(name=LORA),))
    elif call.subject == "image":
        files = {"image": (f"load-{call.number}.png", picture_of(call), "image/png")}
        answer = await caller.ask("POST", "/upload/image", call, files=files)
        request = dataclasses.replace(request, image=answer.json()["name"], denoise=DENOISE)
    graph = dict(request.workflow().to_comfyui())
    if call.subject == "outputs":
        graph["90"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "second"}}
    return graph


async def replicate(caller: Caller, call: Call, state: CallState) -> None:
    """Create a prediction and poll it until it has ended."""
    own = _parameters(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    if call.subject == "image":
        data = base64.b64encode(picture_of(call)).decode()
        given |= {"image": f"data:image/png;base64,{data}", "prompt_strength": DENOISE}
    body = {"version": caller.model, "input": given | {"num_outputs": call.pictures}}
    answer = await caller.ask("POST", "/v1/predictions", call, json=body, headers={"X-Job-Id": call.id})
    state.accepted = True
    prediction = await _done(caller, answer.json()["urls"]["get"], call, lambda job: job["status"] in _REPLICATE_ENDS)
    if prediction["status"] == "canceled":
        raise JobCancelled
    if prediction["status"] != "succeeded":
        raise WrongAnswer(f"replicate: {prediction['status']}, {prediction['error']}")
    output = prediction["output"]
    await caller.see(call, output if isinstance(output, list) else [output])


async def huggingface(caller: Caller, call: Call, state: CallState) -> None:
    """Ask Hugging Face's text-to-image task, or image-to-image, whose answer is the picture."""
    own = _parameters(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    if call.subject == "image":
        body = {"inputs": base64.b64encode(picture_of(call)).decode(), "parameters": given | {"strength": DENOISE}}
    else:
        body = {"inputs": given.pop("prompt"), "parameters": given}
    headers = {"X-Job-Id": call.id, "Accept": "image/png"}
    answer = await caller.ask("POST", "/hf", call, json=body, headers=headers)
    state.accepted = True
    check(call, answer.content)


async def cancel(caller: Caller, call: Call) -> None:
    """Cancel the job as the dialect does; dialects without a way to cancel use the native API."""
    if call.dialect == "sdapi":
        await caller.ask("POST", "/sdapi/v1/interrupt", call, params={"id_task": call.id})
    elif call.dialect == "comfyui":
        await caller.ask("POST", "/interrupt", call, json={"prompt_id": call.id})
    elif call.dialect == "replicate":
        await caller.ask("POST", f"/v1/predictions/{call.id}/cancel", call)
    else:
        await caller.ask("DELETE", f"/api/v1/jobs/{call.id}", call)


ASK: dict[Dialect, Callable[[Caller, Call, CallState], Awaitable[None]]] = {
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
    """Poll ``path`` until ``done``, at growing intervals, and return the last answer."""
    pause = _FIRST_PAUSE
    while not done(answer := (await caller.ask("GET", path, call)).json()):
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return answer


def picture_of(call: Call) -> bytes:
    """Return the picture that a call hands in, a PNG of the size of what it asks for: one of a few."""
    file = io.BytesIO()
    shade = 40 * (call.number % _PICTURES_IN)
    Image.new("RGB", (call.request.width, call.request.height), (shade, 90, 200)).save(file, "PNG")
    return file.getvalue()


def _parameters(call: Call) -> dict[str, Any]:
    """Return the parameters that vary, under their native names."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale", "sampler", "scheduler", "seed")
    return {name: getattr(call.request, name) for name in names}


def _check_all(call: Call, encoded: list[str]) -> None:
    if len(encoded) != call.made:
        raise WrongAnswer(f"{call.dialect}: {len(encoded)} pictures instead of {call.made}")
    for each in encoded:
        check(call, base64.b64decode(each))


def _kind(text: str) -> str:
    """Find the kind of error in an answer's body, whichever dialect it is in; at most 60 characters."""
    try:
        body = json.loads(text)
    except ValueError:
        return text[:60]
    for name in ("kind", "code", "type", "title", "error", "detail"):
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, dict):
            return _kind(json.dumps(value))
        if isinstance(value, str) and value:
            return value[:60]
    return text[:60]
