"""What a call and its settings say of AUTOMATIC1111's picture → the part of a request that asks for it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from engine import BadRequest, GenerationRequest
from engine.formats.infotext.a1111_labels import a1111_sampler_from_label, schedule_from_label
from engine.parameters import parameters_of
from engine.request_a1111 import A1111
from engine.request_parts import PromptReading
from engine.sampling.a1111.samplers import AUTOMATIC, OWN_SAMPLERS, rule_of
from server.dialects.sdapi.body import Generation, Img2Img
from server.dialects.sdapi.picture_settings import EMPHASES, READING, SETTABLE
from server.problems import bad_request

_FIELDS = parameters_of(A1111)

_RENAMED: Mapping[str, str] = {"eta_noise_seed_delta": "ensd"}
"""Settings that have another name in the request."""

_IN_BOTH = ("s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond")
"""What is a setting and a field of calls: the field counts while the setting has its default."""

_SEEDS = 2**64

_OLD_KARRAS = {"sigma_min": 0.1, "sigma_max": 10.0}
"""The ends of schedules with ``use_old_karras_scheduler_sigmas``."""


def a1111_part(body: Generation, settings: Mapping[str, Any], sampler: str, schedule: str) -> A1111:
    """Return the part that asks for AUTOMATIC1111's picture.

    ``settings`` are those of ``SETTABLE`` that are named. Raises ``BadRequest`` for a value out of range.
    """
    changed = {name: value for name, value in settings.items() if value != SETTABLE[name].default}
    values = {_RENAMED.get(name, name): value for name, value in changed.items()}
    if values.pop("use_old_karras_scheduler_sigmas", False):
        values = {**_OLD_KARRAS, **values}
    if "randn_source" in values:
        values["rng"] = "cpu" if values.pop("randn_source") == "CPU" else "nv"
    values["zero_terminal_snr"] = values.pop("sd_noise_schedule", None) == "Zero Terminal SNR"
    own = {"eta_ancestral": values.pop("eta_ancestral", None), "eta_ddim": values.pop("eta_ddim", None)}
    values["eta"] = own["eta_ddim" if rule_of(sampler).levels == "timesteps" else "eta_ancestral"]
    if body.eta is not None:
        values["eta"] = body.eta
    values |= {name: getattr(body, name) for name in _IN_BOTH if name not in values and getattr(body, name) is not None}
    if isinstance(body, Img2Img) and body.initial_noise_multiplier is not None:
        values["initial_noise_multiplier"] = body.initial_noise_multiplier
    values |= {"schedule": schedule, "sampler": sampler if sampler in OWN_SAMPLERS else None, **_variation(body)}
    return A1111(**{name: value for name, value in values.items() if name in _FIELDS})


def reading_of(settings: Mapping[str, Any]) -> PromptReading | None:
    """Return how ``settings`` have prompts read; None where it is as that program comes."""
    named = {READING[name]: value for name, value in settings.items() if name in READING}
    if "emphasis" in named:
        named["emphasis"] = EMPHASES[named["emphasis"]]
    reading = PromptReading(**named)
    return None if reading == PromptReading() else reading


def _variation(body: Generation) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if body.subseed_strength:
        seed = body.subseed
        drawn = seed is None or seed == -1
        values = {"subseed_strength": body.subseed_strength, "subseed": secrets.randbelow(2**32) if drawn else seed}
    if (body.seed_resize_from_h or 0) > 0 and (body.seed_resize_from_w or 0) > 0:
        values |= {name: getattr(body, name) for name in ("seed_resize_from_h", "seed_resize_from_w")}
    return values


def sampling_of(label: str, scheduler: str | None, field: str, scheduler_field: str) -> tuple[str, str]:
    """Return the sampler, which may be one of ``OWN_SAMPLERS``, and the schedule type that labels mean.

    A schedule type behind the sampler's name goes before ``scheduler``. Raises ``Problem`` that names the field.
    """
    try:
        found = a1111_sampler_from_label(label)
    except BadRequest as error:
        raise bad_request(field, label, error.allowed) from None
    try:
        return found.sampler, found.schedule or schedule_from_label(scheduler or AUTOMATIC)
    except BadRequest as error:
        raise bad_request(scheduler_field, scheduler, error.allowed) from None


def counted_on(request: GenerationRequest, number: int) -> GenerationRequest:
    """Return the request for picture ``number``: with a variation it is the variation's seed that counts
    on."""
    part = request.a1111
    if part is None or not part.subseed_strength or request.seed is None:
        return request
    varied = dataclasses.replace(part, subseed=(part.subseed + number) % _SEEDS)
    return dataclasses.replace(request, seed=(request.seed - number) % _SEEDS, a1111=varied)
