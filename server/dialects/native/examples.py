"""The examples of the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow
from server.job import parameters

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0iAAAAA1BMVEXIeDzwT3VbAAAADElEQV"
    "R42mNgIA0AAAAwAAEodEl9AAAAAElFTkSuQmCC"
)
"""A picture of 16 × 16 pixels in one colour."""

MASK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAEElEQVR42mNg+M/EwEA8AgAw0g"
    "Ee0P1L1QAAAABJRU5ErkJggg=="
)
"""A picture of 16 × 16 pixels whose right half is white."""

GENERATE: dict[str, Any] = {
    "mission": {
        "summary": "one picture",
        "value": {"prompt": "a lighthouse at dawn", "negative_prompt": "", "width": 512, "height": 512},
    },
    "fast": {
        "summary": "fewer steps, a fresh seed",
        "value": {"prompt": "a red boat", "steps": 15, "sampler": "dpmpp_2m", "scheduler": "karras", "seed": None},
    },
    "ink": {
        "summary": "with a LoRA, and a second pass at one and a half times the size",
        "value": {
            "prompt": "a boat",
            "seed": 7,
            "loras": [{"name": "starter-ink", "strength": 0.8}],
            "hires": {"scale": 1.5},
        },
    },
    "image": {
        "summary": "from a picture, whose right half is painted anew, with the edges of a drawing",
        "value": {
            "prompt": "an oil painting of a harbour",
            "denoise": 0.7,
            "width": 64,
            "height": 64,
            "image": PICTURE,
            "mask": MASK,
            "controls": [{"model": "starter-edges", "image": PICTURE, "strength": 0.8, "end": 0.5}],
        },
    },
    "regions": {
        "summary": "two regions with prompts of their own",
        "value": {
            "prompt": "a harbour at night",
            "seed": 11,
            "regions": [
                {"prompt": "a red boat", "x": 0, "y": 0, "width": 256, "height": 512},
                {"prompt": "a lighthouse", "x": 256, "y": 0, "width": 256, "height": 512, "strength": 1.5},
            ],
        },
    },
    "several": {
        "summary": "four pictures, without waiting for them",
        "value": {"prompt": "two houses before a forest", "seed": 7, "count": 4, "async": True},
    },
}

WORKFLOW: dict[str, Any] = {
    "api": {
        "summary": "the workflow, in the API's form",
        "value": json.loads(
            json.dumps(api_workflow(GenerationRequest(steps=4), checkpoint_file="starter.safetensors"))
        ),
    }
}

_URL = "http://127.0.0.1:8000/api/v1"
JOB: dict[str, Any] = {
    "id": "4404a4c49154ca40730cc84a",
    "job_id": "4404a4c49154ca40730cc84a",
    "state": "succeeded",
    "url": f"{_URL}/jobs/4404a4c49154ca40730cc84a",
    "events_url": f"{_URL}/jobs/4404a4c49154ca40730cc84a/events",
    "output_url": f"{_URL}/images/776d10fd0b0fd9adbe0cd76fc50b30c3-1-0.png",
    "images": [
        {
            "url": f"{_URL}/images/776d10fd0b0fd9adbe0cd76fc50b30c3-1-0.png",
            "width": 512,
            "height": 512,
            "seed": 7,
            "request": 0,
            "index": 0,
            "node": "9",
            "base64": None,
            "path": None,
        }
    ],
    "parameters": parameters(GenerationRequest(prompt="a lighthouse at dawn", seed=7, model="starter")),
    "seed": 7,
    "count": 1,
    "model": "starter",
    "dialect": "native",
    "priority": 0,
    "created": 1795382284.1,
    "started": 1795382284.2,
    "finished": 1795382286.9,
    "attempt": 1,
    "cancel_requested": False,
    "interrupted": False,
    "deleted": False,
    "place": None,
    "stage": None,
    "step": None,
    "steps": None,
    "progress": 1.0,
    "timings": {"queued": 0.1, "sample": 2.4, "decode": 0.2, "total": 2.7},
    "error": None,
}

PROBLEM: dict[str, Any] = {
    "type": "urn:problem:bad_request",
    "title": "Bad request",
    "status": 400,
    "detail": "steps: 0 is not allowed; expected a whole number from 1 to 10000",
    "kind": "bad_request",
    "field": "steps",
    "errors": [
        {
            "field": "steps",
            "value": 0,
            "allowed": "a whole number from 1 to 10000",
            "detail": "steps: 0 is not allowed; expected a whole number from 1 to 10000",
        }
    ],
}
