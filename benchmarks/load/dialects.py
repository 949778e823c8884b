"""Makes one call in each dialect as its clients make it, from the request to the downloaded pictures, and cancels it.

Knows no schedule, and no clock but the pauses between two polls of a job.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from benchmarks.load.caller import Caller, CallState, JobCancelled, WrongAnswer, check
from benchmarks.load.calls import LORA, Call, Dialect
from benchmarks.load.handing_in import DENOISE, base64_of, graph_of, native_body, parameters_of, picture_of
from engine.formats.infotext import SAMPLER_LABELS

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_ANSWERS = ("url", "base64", "png")


async def native(caller: Caller, call: Call, state: CallState) -> None:
    """Ask for the pictures as URLs, base64 or a PNG body, by turns, and wait for them."""
    form = _ANSWERS[call.number % 3]
    if form == "png" and call.pictures > 1:
        form = "base64"
    body = await native_body(caller, call) | {"count": call.pictures, "response_format": form}
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
    body = await native_body(caller, call) | {"count": call.pictures, "async": True}
    answer = await caller.ask("POST", "/api/v1/generate", call, json=body, headers={"X-Job-Id": call.id})
    state.accepted = True
    job = await _end(caller, answer.json()["events_url"])
    if job["state"] == "cancelled":
        raise JobCancelled
    if job["state"] != "succeeded":
        raise WrongAnswer(f"async: {job['state']}, {job['error']}")
    await caller.see(call, [image["url"] for image in job["images"]])


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
    own = parameters_of(call)
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
        body |= {"init_images": [base64_of(call)], "denoising_strength": DENOISE}
    answer = await caller.ask("POST", f"/sdapi/v1/{route}", call, json=body)
    state.accepted = True
    images = answer.json()["images"]
    if call.manner == "cancel" and len(images) < call.made:  # an interrupted call has the pictures that were done
        raise JobCancelled
    _check_all(call, images)


async def comfyui(caller: Caller, call: Call, state: CallState) -> None:
    """Post a graph as ComfyUI's clients do, and poll its history."""
    graph = await graph_of(caller, call)
    await caller.ask("POST", "/prompt", call, json={"prompt": graph, "prompt_id": call.id, "client_id": call.id})
    state.accepted = True
    if call.manner == "cancel":  # the history does not list prompts that never started
        job = await _done(caller, f"/api/jobs/{call.id}", call, lambda job: job["status"] in _COMFYUI_ENDS)
        if job["status"] == "cancelled":
            raise JobCancelled
    entry = (await _done(caller, f"/history/{call.id}", call, bool))[call.id]
    images = [image for output in entry["outputs"].values() for image in output["images"]]
    await caller.see(call, [str(httpx.URL("/view", params=image)) for image in images])


async def replicate(caller: Caller, call: Call, state: CallState) -> None:
    """Create a prediction and poll it until it has ended."""
    own = parameters_of(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    if call.subject == "image":
        given |= {"image": f"data:image/png;base64,{base64_of(call)}", "prompt_strength": DENOISE}
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
    own = parameters_of(call)
    given = own | {"num_inference_steps": own.pop("steps"), "guidance_scale": own.pop("cfg_scale")}
    if call.subject == "image":
        body = {"inputs": base64_of(call), "parameters": given | {"strength": DENOISE}}
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
        await caller.ask("POST", f"/api/v1/jobs/{call.id}/cancel", call)


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


def _check_all(call: Call, encoded: list[str]) -> None:
    if len(encoded) != call.made:
        raise WrongAnswer(f"{call.dialect}: {len(encoded)} pictures instead of {call.made}")
    for each in encoded:
        check(call, base64.b64decode(each))
