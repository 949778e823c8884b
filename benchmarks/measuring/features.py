"""The requests of the section ``features``: what people ask for beside a picture from a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from benchmarks.measuring.workloads import Scale, alone
from engine import GenerationRequest
from engine.request_parts import Control, Hires, Lora

LORA, CONTROLNET, UPSCALER = "lora.safetensors", "controlnet.safetensors", "upscaler.safetensors"
PICTURE, MASK, LARGE = "picture.png", "mask.png", "large.png"
"""The names of the files that the requests ask for."""

Feature = Literal["LoRA's first use", "LoRA resident", "img2img", "inpaint", "ControlNet", "hires"]

DENOISE = 0.5
"""Share of the schedule that is run where there is something to start from; the steps are those in that share."""

_STRENGTH = 0.6
_LARGER = 1.5


def request_for(feature: Feature, scale: Scale, number: int) -> GenerationRequest:
    """Give the request ``number`` for a feature."""
    return replace(alone(scale, number), **_fields(feature))


def _fields(feature: Feature) -> dict[str, Any]:
    match feature:
        case "LoRA's first use" | "LoRA resident":
            return {"loras": (Lora(name=LORA, strength=_STRENGTH),)}
        case "img2img":
            return {"image": PICTURE, "denoise": DENOISE}
        case "inpaint":
            return {"image": PICTURE, "mask": MASK, "denoise": DENOISE}
        case "ControlNet":
            return {"controls": (Control(model=CONTROLNET, image=PICTURE, strength=_STRENGTH),)}
        case "hires":
            return {"hires": Hires(scale=_LARGER, method="bilinear", denoise=DENOISE)}
