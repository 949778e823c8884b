"""diffusers' names for parameters and schedulers, used by Replicate's and Hugging Face's callers, and ours.

``scheduler`` means two things to these callers: diffusers' class, which is a sampler and its sigma schedule here, and
our own parameter, which is the sigma schedule alone. No name is both. This module knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import BadRequest
from engine.request import SCHEDULERS
from server.dialects.shared.reader import Found, Reader

WORDS: Mapping[str, str] = {"num_inference_steps": "steps", "guidance_scale": "cfg_scale"}
"""diffusers' words for our parameters."""

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
"""Replicate's and diffusers' names → our sampler and scheduler that take the same steps, within 1 % of the result.

This holds for diffusers' defaults and Stable Diffusion 1's settings. The differences that remain are the timesteps,
which diffusers rounds, the variance of the start (σ² there, 1 + σ² here), and DDIM's last step, which ends at the
smallest training sigma there. PNDM, KDPM2, DEIS and UniPC use other sigmas there, or combine steps in another way, and
have no equal here.
"""


def find_named(reader: Reader, given: Mapping[str, object], place: str) -> Found:
    """Return the parameters in ``given`` as ``reader.find`` does, with diffusers' scheduler names translated."""
    found = reader.find(given, place)
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
    """Replace a ``guidance_scale`` up to 1, with which diffusers uses no guidance, by our ``cfg_scale`` 1."""
    word, value = found.get("cfg_scale", ("", None))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if word == f"{place}guidance_scale" and is_number and 0 <= value <= 1:  # type: ignore[operator]  # a number
        found["cfg_scale"] = (word, 1.0)


def named_schemas(reader: Reader, leave: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of ``reader``, with diffusers' scheduler names."""
    described = reader.schemas(leave)
    described["scheduler"] = {
        "type": ["string", "null"],
        "enum": [*CLASSES, *SCHEDULERS, None],
        "default": None,
        "description": "a scheduler of diffusers, which is a sampler with its sigma schedule here; or a sigma schedule",
    }
    return described
