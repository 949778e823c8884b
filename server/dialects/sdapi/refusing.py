"""The refusal, by name, of what would change AUTOMATIC1111's picture and has no equivalent here.

A value without effect in AUTOMATIC1111 (``hr_scale`` without ``enable_hr``) has none here. Fields that AUTOMATIC1111
does not know are refused too, except for some that well-known clients send to its relatives.
"""

from __future__ import annotations

from engine.sampling.samplers import SAMPLERS
from server.dialects.sdapi.body import Generation, Txt2Img
from server.dialects.shared.reader import unknown
from server.problems import bad_request, unsupported

CONTROLNET = "controlnet"
"""The one script that is carried out, in small letters."""

_IGNORED_EXTRAS = {
    "url", "auth",  # SillyTavern sends its own settings along
    "seed_enable_extras", "distilled_cfg_scale", "firstphase_width", "firstphase_height",
    "hr_additional_modules",
}  # fmt: skip
_ETA = {
    **{name: float(record.options["eta"]) for name, record in SAMPLERS.items() if record.options.get("eta")},
    **dict.fromkeys(("ddim", "dpm_fast", "dpm_adaptive"), 0.0),
}
"""The engine's eta of each sampler for which AUTOMATIC1111 reads one. It ignores eta for the others."""

_NOTHING: tuple[object, ...] = (None, False, "", [], {})
"""Values of unknown fields that ask for nothing. 0 is not among them: it may be a scale or a strength."""


def refuse(body: Generation) -> None:
    """Refuse by name what would change the picture. Raises ``Problem``."""
    for name in ("restore_faces", "tiling", "disable_extra_networks"):
        if getattr(body, name):
            raise unsupported(name, True, "false")
    if body.token_merging_ratio:
        raise unsupported("token_merging_ratio", body.token_merging_ratio, "0")
    if body.script_name not in (None, "", "None"):
        raise unsupported("script_name", body.script_name, "no value")
    if styles := [style for style in body.styles or [] if style not in ("", "None")]:
        raise unsupported("styles", styles, "an empty list: there are no styles")
    for script, settings in (body.alwayson_scripts or {}).items():
        if script.casefold() != CONTROLNET:
            _refuse_script(script, settings)
    _refuse_extras(body)


def refuse_noise(body: Generation) -> None:
    """Refuse what a call says of AUTOMATIC1111's own noise, where another noise is drawn or a text says it."""
    for name in ("subseed_strength", "s_churn", "s_min_uncond"):
        if getattr(body, name):
            raise unsupported(name, getattr(body, name), "0")
    if body.s_noise not in (None, 1):
        raise unsupported("s_noise", body.s_noise, "1")
    if (body.seed_resize_from_h or 0) > 0 and (body.seed_resize_from_w or 0) > 0:
        raise unsupported("seed_resize_from_h", body.seed_resize_from_h, "0 or -1")


def _refuse_script(script: str, settings: object) -> None:
    """Refuse a script unless its arguments switch it off: the first is false, or each is empty or not enabled."""
    arguments = settings.get("args") if isinstance(settings, dict) else settings
    listed = arguments if isinstance(arguments, list) else [arguments]
    if listed and listed[0] is False:
        return
    for argument in listed:
        off = isinstance(argument, dict) and (argument.get("enabled") is False or argument.get("enable") is False)
        if not off and not is_nothing(argument):
            raise unsupported(f"alwayson_scripts.{script}"[:100], settings, "no such script, or one switched off")


def _refuse_extras(body: Generation) -> None:
    """Refuse fields that are not known, all at once, and a clip skip that another one contradicts."""
    extras = dict(body.model_extra or {})
    value, override = extras.pop("clip_skip", None), (body.override_settings or {}).get("CLIP_stop_at_last_layers")
    if override is not None and value not in (None, 0, override):
        raise bad_request("clip_skip", value, f"the {override} of CLIP_stop_at_last_layers, or no value")
    passed_over = [name for name in extras if name in _IGNORED_EXTRAS or _of_the_other_call(name, body)]
    strange = {name: given for name, given in extras.items() if name not in passed_over and not is_nothing(given)}
    if strange:
        raise unknown(strange, type(body).model_fields)


def _of_the_other_call(name: str, body: Generation) -> bool:
    """Return whether ``name`` is about a second pass, of which ``img2img`` knows nothing."""
    return not isinstance(body, Txt2Img) and (name == "enable_hr" or name.startswith("hr_"))


def is_nothing(value: object) -> bool:
    """Return whether a value of a field that is not known asks for nothing."""
    return any(value is each or (value == each and not isinstance(value, int | float)) for each in _NOTHING)


def refuse_eta(eta: float | None, sampler: str) -> None:
    """Refuse an eta that is not the sampler's own, where AUTOMATIC1111 reads one. Raises ``Problem``."""
    own = _ETA.get(sampler)
    if eta is not None and own is not None and eta != own:
        raise unsupported("eta", eta, f"{own:g}, or no value, for this sampler")
