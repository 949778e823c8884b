"""What a call hands in: the parameters that vary, a picture to start from, a LoRA, a graph."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

from PIL import Image

from benchmarks.load.caller import Caller
from benchmarks.load.calls import LORA, Call
from engine import Lora

_PICTURES = 6
DENOISE = 0.75
"""The share of the schedule that calls from a picture run."""


def parameters_of(call: Call) -> dict[str, Any]:
    """Return the parameters that vary, under their native names."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale", "sampler", "scheduler", "seed")
    return {name: getattr(call.request, name) for name in names}


def picture_of(call: Call) -> bytes:
    """Return the picture that a call hands in, a PNG of the size of what it asks for: one of a few."""
    file = io.BytesIO()
    shade = 40 * (call.number % _PICTURES)
    Image.new("RGB", (call.request.width, call.request.height), (shade, 90, 200)).save(file, "PNG")
    return file.getvalue()


def base64_of(call: Call) -> str:
    """Return the picture that a call hands in, in base64."""
    return base64.b64encode(picture_of(call)).decode()


async def native_body(caller: Caller, call: Call) -> dict[str, Any]:
    """Hand a picture in with the call, or, by turns, before it."""
    parts: dict[str, Any] = {}
    if call.subject == "lora":
        parts = {"loras": [{"name": LORA}]}
    elif call.subject == "image" and call.number % 2:
        parts = {"image": base64_of(call), "denoise": DENOISE}
    elif call.subject == "image":
        files = {"image": ("a.png", picture_of(call), "image/png")}
        answer = await caller.ask("POST", "/api/v1/inputs", call, files=files)
        parts = {"image": answer.json()["id"], "denoise": DENOISE}
    return parameters_of(call) | parts


async def graph_of(caller: Caller, call: Call) -> dict[str, Any]:
    """Upload the picture that the graph starts from, if it does."""
    request = dataclasses.replace(call.request, batch_size=call.pictures, model=caller.file)
    if call.subject == "lora":
        request = dataclasses.replace(request, loras=(Lora(name=f"{LORA}.safetensors"),))
    elif call.subject == "image":
        files = {"image": (f"load-{call.number}.png", picture_of(call), "image/png")}
        answer = await caller.ask("POST", "/upload/image", call, files=files)
        request = dataclasses.replace(request, image=answer.json()["name"], denoise=DENOISE)
    graph = dict(request.workflow().to_comfyui())
    if call.subject == "outputs":
        graph["90"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "second"}}
    return graph
