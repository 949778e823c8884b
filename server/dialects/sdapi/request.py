"""The body of ``POST txt2img`` or ``img2img`` → requests, one for each picture: its prompt, sampling, size and files.

What pictures, masks, a second pass and ControlNets add to them is the business of ``plan``.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from engine import BadRequest, GenerationRequest
from engine.formats.infotext import (
    automatic_scheduler,
    request_from_infotext,
    sampler_from_label,
    scheduler_from_label,
)
from engine.formats.infotext.labels import OWN_TIMESTEPS
from engine.parameters import WholeNumber
from engine.request_a1111 import A1111
from engine.sampling.a1111.samplers import OWN_SAMPLERS
from engine.text.a1111.composition import without_comments
from engine.workflow.sizes import PIXELS_PER_CELL
from server.dialects.sdapi.a1111 import a1111_part, counted_on, reading_of, sampling_of
from server.dialects.sdapi.body import Generation
from server.dialects.sdapi.options import CLIP_SKIPS, Chosen
from server.dialects.sdapi.refusing import refuse, refuse_eta, refuse_noise
from server.dialects.shared.seeds import in_a_row
from server.problems import bad_request, unsupported

DRAWN_SEEDS = 2**32
"""Seeds are drawn below this, as in AUTOMATIC1111: JavaScript clients read them back without loss."""


def requests_of(
    body: Generation, *, override: Chosen, defaults: Chosen, most: int, program: str = "comfyui"
) -> tuple[GenerationRequest, ...]:
    """Make a request for each picture that ``body`` asks for: n_iter × batch_size, at most ``most``.

    ``override``: what the override settings name; ``defaults``: what counts for calls that name none; ``program``:
    whose picture is made, ``a1111`` or ``comfyui``. A seed is drawn where none is given. Raises ``Problem`` or
    ``BadRequest`` for what is not supported.
    """
    refuse(body)
    count = _count(body, most)
    clip_skip = override.clip_skip or _extra_clip_skip(body)
    base = _from_infotext(body) if body.infotext else _defaults()
    if base.a1111 is not None and program == "a1111":
        sampling = _sampling_of_text(body, base.a1111, override.pictures)
    elif program == "a1111" and not body.infotext:
        sampling = _a1111_sampling(body, {**defaults.pictures, **override.pictures})
    else:
        refuse_noise(body)
        sampling = dict(zip(("sampler", "scheduler"), _schedule(body, base), strict=True))
        refuse_eta(body.eta, sampling["sampler"])
    request = dataclasses.replace(
        base,
        **_given(body, base),
        **sampling,
        clip_skip=clip_skip or (base.clip_skip if body.infotext else defaults.clip_skip or 1),
        model=override.model or base.model or defaults.model,
        vae=(base.vae or defaults.vae if override.vae is None else override.vae) or None,
    )
    if request.seed is None:
        request = dataclasses.replace(request, seed=secrets.randbelow(DRAWN_SEEDS))
    return tuple(counted_on(each, number) for number, each in enumerate(in_a_row(request, count)))


def _defaults() -> GenerationRequest:
    default = {name: field.default for name, field in Generation.model_fields.items()}
    return GenerationRequest(
        **{name: default[name] for name in ("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height")},
        prompt_syntax="a1111",
        seed=None,
    )


def _from_infotext(body: Generation) -> GenerationRequest:
    """Read the request in ``infotext``."""
    text = body.infotext or ""
    request = request_from_infotext(text)
    if request.batch_size > 1:
        raise unsupported("infotext Batch size", request.batch_size, "the text of a picture that was made alone")
    return request


def _given(body: Generation, base: GenerationRequest) -> dict[str, Any]:
    """Return the parameters that ``body`` holds explicitly, beside those of its infotext, ``base``."""
    names = ("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height", "seed")
    given = {name: getattr(body, name) for name in names if name in body.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {
        name: given[name] - given[name] % PIXELS_PER_CELL
        for name in ("width", "height")
        if given.get(name, 0) > PIXELS_PER_CELL  # what is smaller is refused as it was sent
    }
    for name, other in (("prompt", "negative_prompt"), ("negative_prompt", "prompt")):
        if name not in given:
            continue
        given |= {name: without_comments(given[name]), "prompt_syntax": "a1111"}
        if other not in given and base.prompt_syntax != "a1111" and getattr(base, other):
            allowed = f"{other} beside it: that of the infotext is in ComfyUI's syntax"
            raise bad_request(name, given[name], allowed)
    return given


def prompt_as_sent(body: Generation, name: str) -> str:
    """Return ``prompt`` or ``negative_prompt`` untranslated: the call's own text, else that of its infotext."""
    given: str | None = getattr(body, name) if name in body.model_fields_set else None
    if given is None and body.infotext:
        given = getattr(request_from_infotext(body.infotext), name)
    return given or ""


def _sampling_of_text(body: Generation, part: A1111, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call says of the sampling beside an infotext of AUTOMATIC1111's picture, whose ``part`` is this.

    Raises ``Problem`` for what the text says in other words.
    """
    refuse_noise(body)
    for name, value in settings.items():
        raise unsupported(f"override_settings.{name}", value, "no value beside infotext, which says it")
    if body.eta is not None:
        raise unsupported("eta", body.eta, "no value beside infotext, which says it")
    field = "sampler_name" if body.sampler_name else "sampler_index"
    label = body.sampler_name or (body.sampler_index if field in body.model_fields_set else None)
    if label is None and _asked(body.scheduler) is None:
        return {}
    if label is None:
        raise unsupported("scheduler", body.scheduler, "no value beside infotext, or one with sampler_name")
    sampler, schedule = sampling_of(label, body.scheduler, field, "scheduler")
    own = sampler if sampler in OWN_SAMPLERS else None
    part = dataclasses.replace(part, schedule=schedule, sampler=own)
    return {"a1111": part} | ({} if own else {"sampler": sampler})


def _a1111_sampling(body: Generation, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampler, and the part of the request that asks for AUTOMATIC1111's picture."""
    field = "sampler_name" if body.sampler_name else "sampler_index"
    label = body.sampler_name or (body.sampler_index if field in body.model_fields_set else None)
    sampler, schedule = sampling_of(label or "Euler", body.scheduler, field, "scheduler")
    part = a1111_part(body, settings, sampler, schedule)
    return {"a1111": part, "prompt_reading": reading_of(settings)} | ({} if part.sampler else {"sampler": sampler})


def _schedule(body: Generation, base: GenerationRequest) -> tuple[str, str]:
    """Return the names of the sampler and the scheduler that AUTOMATIC1111's labels mean."""
    field = "sampler_name" if body.sampler_name else "sampler_index"
    label = body.sampler_name or (body.sampler_index if field in body.model_fields_set else None)
    if label is None and body.infotext:
        asked = _asked(body.scheduler)
        return base.sampler, base.scheduler if asked is None else scheduler_from_label(asked, base.sampler)
    return schedule_of(label or "Euler", body.scheduler, field, "scheduler")


def schedule_of(label: str, scheduler: str | None, field: str, scheduler_field: str) -> tuple[str, str]:
    """Return our sampler and scheduler for AUTOMATIC1111's labels, which are in these fields. Raises ``Problem``."""
    asked = _asked(scheduler)
    try:
        sampler, named = sampler_from_label(label)
    except BadRequest as error:
        raise bad_request(field, label, error.allowed) from None
    if sampler in OWN_TIMESTEPS:
        return sampler, OWN_TIMESTEPS[sampler]
    try:
        chosen = None if asked is None else scheduler_from_label(asked, sampler)
    except BadRequest as error:
        raise bad_request(scheduler_field, asked, error.allowed) from None
    if chosen and named and chosen != named:
        raise bad_request(scheduler_field, asked, f"Automatic, or the one that the sampler's name {label!r} says")
    return sampler, chosen or named or automatic_scheduler(sampler)


def _asked(scheduler: str | None) -> str | None:
    return scheduler if (scheduler or "automatic").strip().casefold() != "automatic" else None


def _count(body: Generation, most: int) -> int:
    """Return the number of pictures. It is checked before any request is made: a huge number would exhaust memory."""
    batch_size = 1 if body.batch_size is None else WholeNumber(1, most).read("batch_size", body.batch_size)
    n_iter = 1 if body.n_iter is None else WholeNumber(1, most).read("n_iter", body.n_iter)
    if n_iter * batch_size > most:
        raise bad_request("n_iter", n_iter, f"n_iter × batch_size of at most {most} pictures")
    return n_iter * batch_size


def _extra_clip_skip(body: Generation) -> int | None:
    """Read ``clip_skip``, a field of SD.Next that SillyTavern sends to every server."""
    value = (body.model_extra or {}).get("clip_skip")
    return None if value in (None, 0) else CLIP_SKIPS.read("clip_skip", value)
