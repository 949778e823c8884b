"""The body of ``POST txt2img`` → requests, one for each picture; and the refusal of what would change them.

A value is refused if it changes AUTOMATIC1111's picture and the engine has no equivalent. A value without effect in
AUTOMATIC1111 (``denoising_strength`` without ``enable_hr``, ``scheduler`` with DDIM) has none here. Fields that
AUTOMATIC1111 does not know are refused too, except for some that well-known clients send to its relatives.
"""

from __future__ import annotations

import dataclasses
import secrets
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
from engine.sampling.samplers import SAMPLERS
from engine.text.a1111.composition import without_comments
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.options import CLIP_SKIPS
from server.dialects.shared.seeds import in_a_row
from server.problems import bad_request, unsupported

DRAWN_SEEDS = 2**32
"""Seeds are drawn below this, as in AUTOMATIC1111: JavaScript clients read them back without loss."""

_IGNORED_EXTRAS = {
    "url", "auth",  # SillyTavern sends its own settings along
    "seed_enable_extras", "distilled_cfg_scale", "firstphase_width", "firstphase_height",
}  # fmt: skip
_ETA = {
    **{name: float(record.options["eta"]) for name, record in SAMPLERS.items() if record.options.get("eta")},
    **dict.fromkeys(("ddim", "dpm_fast", "dpm_adaptive"), 0.0),
}
"""The engine's eta of each sampler for which AUTOMATIC1111 reads one. It ignores eta for the others."""

_NOTHING: tuple[object, ...] = (None, False, "", [], {})
"""Values of unknown fields that ask for nothing. 0 is not among them: it may be a scale or a strength."""


def requests_of(
    body: Txt2Img, *, override: tuple[str | None, int | None], defaults: tuple[str | None, int], most: int
) -> tuple[GenerationRequest, ...]:
    """Make a request for each picture that ``body`` asks for: n_iter × batch_size, at most ``most``.

    ``override``: model and CLIP skip of the override settings, each None where it is absent; ``defaults``: both for
    calls that name none. A seed is drawn where none is given. Raises ``Problem`` or ``BadRequest`` for what is not
    supported.
    """
    _refuse(body)
    count = _count(body, most)
    base = _from_infotext(body) if body.infotext else _defaults()
    sampler, scheduler = _schedule(body, base)
    request = dataclasses.replace(
        base,
        **_given(body, base),
        sampler=sampler,
        scheduler=scheduler,
        clip_skip=override[1] or _extra_clip_skip(body) or (base.clip_skip if body.infotext else defaults[1]),
        model=override[0] or base.model or defaults[0],
    )
    _refuse_eta(body.eta, sampler)
    if request.seed is None:
        request = dataclasses.replace(request, seed=secrets.randbelow(DRAWN_SEEDS))
    return in_a_row(request, count)


def _defaults() -> GenerationRequest:
    default = {name: field.default for name, field in Txt2Img.model_fields.items()}
    return GenerationRequest(
        **{name: default[name] for name in ("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height")},
        prompt_syntax="a1111",
        seed=None,
    )


def _from_infotext(body: Txt2Img) -> GenerationRequest:
    """Read the request in ``infotext``."""
    text = body.infotext or ""
    request = request_from_infotext(text)
    if request.batch_size > 1:
        raise unsupported("infotext Batch size", request.batch_size, "the text of a picture that was made alone")
    return request


def _given(body: Txt2Img, base: GenerationRequest) -> dict[str, Any]:
    """Return the parameters that ``body`` holds explicitly, beside those of its infotext, ``base``."""
    names = ("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height", "seed")
    given = {name: getattr(body, name) for name in names if name in body.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None}
    for name, other in (("prompt", "negative_prompt"), ("negative_prompt", "prompt")):
        if name not in given:
            continue
        given |= {name: without_comments(given[name]), "prompt_syntax": "a1111"}
        if other not in given and base.prompt_syntax != "a1111" and getattr(base, other):
            allowed = f"{other} beside it: that of the infotext is in ComfyUI's syntax"
            raise bad_request(name, given[name], allowed)
    return given


def prompt_as_sent(body: Txt2Img, name: str) -> str:
    """Return ``prompt`` or ``negative_prompt`` untranslated: the call's own text, else that of its infotext."""
    given: str | None = getattr(body, name) if name in body.model_fields_set else None
    if given is None and body.infotext:
        given = getattr(request_from_infotext(body.infotext), name)
    return given or ""


def _schedule(body: Txt2Img, base: GenerationRequest) -> tuple[str, str]:
    """Return the names of the sampler and the scheduler that AUTOMATIC1111's labels mean."""
    field = "sampler_name" if body.sampler_name else "sampler_index"
    label = body.sampler_name or (body.sampler_index if field in body.model_fields_set else None)
    asked = body.scheduler if (body.scheduler or "automatic").strip().casefold() != "automatic" else None
    if label is None and body.infotext:
        return base.sampler, base.scheduler if asked is None else scheduler_from_label(asked, base.sampler)
    try:
        sampler, named = sampler_from_label(label or "Euler")
    except BadRequest as error:
        raise bad_request(field, label, error.allowed) from None
    if sampler in OWN_TIMESTEPS:
        return sampler, OWN_TIMESTEPS[sampler]
    scheduler = None if asked is None else scheduler_from_label(asked, sampler)
    if scheduler and named and scheduler != named:
        raise bad_request("scheduler", asked, f"Automatic, or the one that the sampler's name {label!r} says")
    return sampler, scheduler or named or automatic_scheduler(sampler)


def _count(body: Txt2Img, most: int) -> int:
    """Return the number of pictures. It is checked before any request is made: a huge number would exhaust memory."""
    batch_size = 1 if body.batch_size is None else WholeNumber(1, most).read("batch_size", body.batch_size)
    n_iter = 1 if body.n_iter is None else WholeNumber(1, most).read("n_iter", body.n_iter)
    if n_iter * batch_size > most:
        raise bad_request("n_iter", n_iter, f"n_iter × batch_size of at most {most} pictures")
    return n_iter * batch_size


def _extra_clip_skip(body: Txt2Img) -> int | None:
    """Read ``clip_skip``, a field of SD.Next that SillyTavern sends to every server."""
    value = (body.model_extra or {}).get("clip_skip")
    return None if value in (None, 0) else CLIP_SKIPS.read("clip_skip", value)


def _refuse(body: Txt2Img) -> None:
    """Refuse by name what would change the picture."""
    if body.enable_hr:
        raise unsupported("enable_hr", True, "false: there is no second pass")
    for name in ("restore_faces", "tiling"):
        if getattr(body, name):
            raise unsupported(name, True, "false")
    for name in ("subseed_strength", "s_churn", "s_min_uncond", "token_merging_ratio"):
        if getattr(body, name):
            raise unsupported(name, getattr(body, name), "0")
    if body.s_noise not in (None, 1):
        raise unsupported("s_noise", body.s_noise, "1")
    if (body.seed_resize_from_h or 0) > 0 and (body.seed_resize_from_w or 0) > 0:
        raise unsupported("seed_resize_from_h", body.seed_resize_from_h, "0 or -1")
    for name in ("refiner_checkpoint", "script_name"):
        if getattr(body, name) not in (None, "", "None"):
            raise unsupported(name, getattr(body, name), "no value")
    if styles := [style for style in body.styles or [] if style not in ("", "None")]:
        raise unsupported("styles", styles, "an empty list: there are no styles")
    for script, settings in (body.alwayson_scripts or {}).items():
        _refuse_script(script, settings)
    for name, value in (body.model_extra or {}).items():
        _refuse_extra(name, value, body)


def _refuse_script(script: str, settings: object) -> None:
    """Refuse a script unless its arguments switch it off: the first is false, or each is empty or not enabled."""
    arguments = settings.get("args") if isinstance(settings, dict) else settings
    listed = arguments if isinstance(arguments, list) else [arguments]
    if listed and listed[0] is False:
        return
    for argument in listed:
        off = isinstance(argument, dict) and (argument.get("enabled") is False or argument.get("enable") is False)
        if not off and not _is_nothing(argument):
            raise unsupported(f"alwayson_scripts.{script}"[:100], settings, "no such script, or one switched off")


def _refuse_extra(name: str, value: object, body: Txt2Img) -> None:
    if name == "clip_skip":
        override = (body.override_settings or {}).get("CLIP_stop_at_last_layers")
        if override is not None and value not in (None, 0, override):
            raise bad_request(name, value, f"the {override} of CLIP_stop_at_last_layers, or no value")
    elif name not in _IGNORED_EXTRAS and not name.startswith("hr_") and not _is_nothing(value):
        problem = unsupported(name[:100], value, f"one of {', '.join(Txt2Img.model_fields)}")
        problem.detail = problem.detail.replace("this would change", "this may change")
        raise problem


def _is_nothing(value: object) -> bool:
    return any(value is each or (value == each and not isinstance(value, int | float)) for each in _NOTHING)


def _refuse_eta(eta: float | None, sampler: str) -> None:
    own = _ETA.get(sampler)
    if eta is not None and own is not None and eta != own:
        raise unsupported("eta", eta, f"{own:g}, or no value, for this sampler")
