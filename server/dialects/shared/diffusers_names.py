"""Names that users of diffusers know, as Replicate's and Hugging Face's callers do, and what they are here.

Knows no HTTP. ``scheduler`` is two things to these callers: diffusers' class, which is our sampler and its sigma
schedule, and our own parameter, the sigma schedule alone. No name is both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import BadRequest
from engine.request import SCHEDULERS
from server.dialects.shared.words import Found, find_parameters, schemas

WORDS: Mapping[str, str] = {"num_inference_steps": "steps", "guidance_scale": "cfg_scale"}

_EULER, _ANCESTRAL = ("euler", "normal"), ("euler_ancestral", "normal")
_MULTISTEP, _LMS, _HEUN = ("dpmpp_2m", "sgm_uniform"), ("lms", "normal"), ("heun", "normal")
_DDIM = ("ddim", "ddim_uniform")
CLASSES: Mapping[str, tuple[str, str]] = {
    "K_EULER": _EULER,
    "EulerDiscreteScheduler": _EULER,
    "K_EULER_ANCESTRAL": _ANCESTRAL,
    "EulerAncestralDiscreteScheduler": _ANCESTRAL,
    "KLMS": _LMS,
    "LMSDiscreteScheduler": _LMS,
    "HeunDiscrete": _HEUN,
    "HeunDiscreteScheduler": _HEUN,
    "DPMSolverMultistep": _MULTISTEP,
    "DPMSolverMultistepScheduler": _MULTISTEP,
    "KarrasDPM": ("dpmpp_2m", "karras"),
    "DDIM": _DDIM,
    "DDIMScheduler": _DDIM,
}
"""Replicate's and diffusers' names → our sampler and scheduler that take the same steps, to a percent of the result.

diffusers' defaults and Stable Diffusion 1's settings are meant. What remains between them: timesteps that diffusers
rounds, the start's variance (σ² there, 1 + σ² here), and DDIM's last step, which ends at the smallest training sigma
there. PNDM, KDPM2, DEIS and UniPC pass through other sigmas there, or combine other steps, and have nothing here.
"""


def find_named(given: Mapping[str, object], place: str) -> Found:
    """As ``find_parameters``, with the words and the scheduler names of diffusers."""
    found = find_parameters(given, WORDS, place)
    _without_guidance(found, place)
    word, value = found.get("scheduler", ("", None))
    if not word or value in SCHEDULERS:
        return found
    if not isinstance(value, str) or value not in CLASSES:
        raise BadRequest(word, value, f"one of {', '.join(CLASSES)}, or of {', '.join(SCHEDULERS)}")
    if "sampler" in found:
        raise BadRequest(found["sampler"][0], found["sampler"][1], f"nothing beside {word} {value!r}, which is one")
    sampler, scheduler = CLASSES[value]
    return found | {"sampler": (word, sampler), "scheduler": (word, scheduler)}


def _without_guidance(found: Found, place: str) -> None:
    """diffusers computes any ``guidance_scale`` up to 1 without guidance, which is our ``cfg_scale`` 1."""
    word, value = found.get("cfg_scale", ("", None))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if word == f"{place}guidance_scale" and is_number and 0 <= value <= 1:  # type: ignore[operator]  # a number
        found["cfg_scale"] = (word, 1.0)


def named_schemas(leave: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """The JSON schemas of the parameters, under diffusers' names where there are some."""
    described = schemas(WORDS, leave)
    described["scheduler"] = {
        "type": ["string", "null"],
        "enum": [*CLASSES, *SCHEDULERS, None],
        "default": None,
        "description": "a scheduler of diffusers, which is a sampler with its sigma schedule here; or a sigma schedule",
    }
    return described
