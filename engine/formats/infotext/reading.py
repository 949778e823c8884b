"""AUTOMATIC1111's ``parameters`` text → ``GenerationRequest``.

Prompts of other programs are in AUTOMATIC1111's language, ours in the one that the text names. What would change the
picture and cannot be had is refused by its key.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.foreign import request_from_places
from engine.formats.infotext.a1111_keys import part_of
from engine.formats.infotext.a1111_labels import a1111_sampler_from_label, schedule_from_label
from engine.formats.infotext.hires_keys import VALUES, a1111_hires_of, hires_of
from engine.formats.infotext.keys import FIRST_DENOISE, OWN, check_keys, is_of_a1111
from engine.formats.infotext.labels import OWN_TIMESTEPS, sampler_from_label, scheduler_from_label
from engine.formats.infotext.lines import Infotext
from engine.formats.infotext.prompt_keys import reading_of
from engine.formats.infotext.versions import with_switches
from engine.formats.infotext.writing import tag_of
from engine.parameters import parameters_of, to_json
from engine.request import GenerationRequest
from engine.request_parts import Hires
from engine.sampling.a1111.samplers import OWN_SAMPLERS
from engine.sampling.samplers import SAMPLERS
from engine.text.a1111.networks import without_tags

_SIZE = re.compile(r"(\d+)x(\d+)")
_CELL = 8
_RANDOM = {"CPU": "cpu", "GPU": "cuda", "NV": "cuda"}
"""Whose generator drew the start noise, in AUTOMATIC1111's words: NV is a GPU's, computed on a CPU."""

_DRAWING = ("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpm_fast", "dpm_adaptive", "lcm", "ddpm")
"""The samplers whose noise at their steps there depends on ENSD, a number that is added to the seed for it."""

_NO_VAE = ("None", "Automatic")
_HIRES_NAMES = ("upscaler", "resize", "sampler", "schedule type", "checkpoint")


_KEYS_OF: Mapping[str, Mapping[str, str | None]] = {
    "steps": {"Steps": "1"},
    "cfg_scale": {"CFG scale": "1"},
    "sampler": {"Sampler": "Euler", "ENSD": None, "Eta": None, "Eta DDIM": None},
    "scheduler": {"Schedule type": None},
    "seed": {"Seed": "0"},
    "start_noise": {"RNG": None},
    "clip_skip": {"Clip skip": None},
    "model": {"Model": None},
    "vae": {"VAE": None},
    "denoise": {"Denoising strength": None},
    "hires": {**dict.fromkeys(VALUES), **dict.fromkeys(f"Hires {name}" for name in _HIRES_NAMES)},
}
"""The keys that a parameter is in → what stands for one that cannot be read, where a caller replaces the parameter;
None: the text is read without it."""

_SIZED = "64x64"
"""What stands for a size that cannot be read, where a caller replaces both sides."""


def request_from_infotext(text: str, replaced: Collection[str] = ()) -> GenerationRequest:
    """Return the request that a ``parameters`` text stands for, as AUTOMATIC1111, Forge or this project wrote it.

    A picture's seed is its own there, so ``Batch size`` counts only in a text of ours. It
    asks for AUTOMATIC1111's picture where that made it; its sizes are rounded down to multiples of 8, as it does, and
    ``versions`` says what older versions did otherwise. The parameters in ``replaced``, which a caller gives in place
    of the text's, need not be readable; with ``image`` among them, ``Denoising strength`` says how far to paint over
    that.

    Raises ``BadRequest``, whose field names the key (``infotext Steps``), for a text without parameters, for a value
    out of range, and for every key that is not known to leave the picture as it is (refiner, tiling, …).
    """
    read = Infotext.of(text)
    left = {key: value for name in replaced for key, value in _KEYS_OF.get(name, {}).items()}
    left |= {"Size": _SIZED} if {"width", "height"} <= set(replaced) else {}
    while True:
        try:
            return _request(read, replaced)
        except BadRequest as error:
            key = error.field.removeprefix("infotext ")
            if key not in left:
                raise
            value, pairs = left.pop(key), dict(read.pairs)
            pairs.pop(key, None)
            read = dataclasses.replace(read, pairs=pairs if value is None else {**pairs, key: value})


def _request(read: Infotext, replaced: Collection[str]) -> GenerationRequest:
    """The request. Where a caller replaces ``image``, it has the picture to start from, which is not in the text."""
    if not read.ours:
        read = dataclasses.replace(read, pairs=with_switches(read.pairs, read.prompt))
    check_keys(read, replaced)
    pairs, ours = read.pairs, read.ours
    width, height = _size(pairs, "Size", rounded=not ours)
    if is_of_a1111(read):
        sampling, hires = _a1111_sampling(pairs, replaced, _whole(width), _whole(height))
    else:
        sampling = _sampling(pairs, ours)
        hires = hires_of(pairs, str(sampling["sampler"][1]))
    if hires is None and not ours and "image" not in replaced and "Denoising strength" in pairs:
        allowed = "a text without it: the picture to start from is not in the text"
        raise BadRequest("infotext Denoising strength", pairs["Denoising strength"], allowed)
    denoise = FIRST_DENOISE if hires is not None else "Denoising strength"
    found: dict[str, tuple[str, object]] = {
        "prompt": ("infotext prompt", read.prompt),
        "negative_prompt": ("infotext negative prompt", read.negative_prompt),
        "prompt_syntax": ("infotext", "comfyui" if ours else "a1111"),
        "width": ("infotext Size", width),
        "height": ("infotext Size", height),
        "batch_size": ("infotext Batch size", pairs.get("Batch size", 1) if ours else 1),
        "steps": ("infotext Steps", pairs["Steps"]),
        "cfg_scale": ("infotext CFG scale", pairs["CFG scale"]),
        "seed": ("infotext Seed", pairs["Seed"]),
        **sampling,
        "denoise": (f"infotext {denoise}", pairs.get(denoise, 1)),
        "clip_skip": ("infotext Clip skip", pairs.get("Clip skip", 1)),
        "model": ("infotext Model", pairs.get("Model")),
        "vae": ("infotext VAE", None if not ours and pairs.get("VAE") in _NO_VAE else pairs.get("VAE")),
        "hires": ("infotext Hires upscaler", None if hires is None else to_json(hires)),
    }
    found |= {name: (f"infotext {key}", pairs[key]) for key, name in OWN.items() if ours and key in pairs}
    if found["prompt_syntax"][1] == "a1111" and (reading := reading_of(pairs)) is not None:
        found["prompt_reading"] = ("infotext", to_json(reading))
    request = _without_tags(request_from_places(found))
    if request.prompt_syntax == "a1111":
        without_tags(request.prompt, "infotext prompt")  # refused here rather than where it is carried out
    return request


def _without_tags(request: GenerationRequest) -> GenerationRequest:
    """``request`` without the tags of its own LoRAs, which a text of ours has behind the prompt."""
    tags = "".join(map(tag_of, request.loras))
    if not request.prompt.endswith(tags):
        raise BadRequest("infotext Loras", tags, "LoRAs whose tags stand behind the prompt")
    return dataclasses.replace(request, prompt=request.prompt[: len(request.prompt) - len(tags)])


def _a1111_sampling(
    pairs: Mapping[str, str], replaced: Collection[str], width: int, height: int
) -> tuple[dict[str, tuple[str, object]], Hires | None]:
    """What asks for AUTOMATIC1111's picture, and its second pass; a sampler or scheduler that a caller replaces is left
    to the request.

    Without a schedule type it is the label's own ("DPM++ 2M Karras"), else "Uniform", as in versions that did not
    write it.
    """
    found = _named(a1111_sampler_from_label, "infotext Sampler", pairs["Sampler"])
    schedule = found.schedule or "uniform"
    if "Schedule type" in pairs:
        schedule = _named(schedule_from_label, "infotext Schedule type", pairs["Schedule type"])
    own = found.sampler if found.sampler in OWN_SAMPLERS else None
    hires, of_hires = a1111_hires_of(pairs, width, height) or (None, {})
    second = of_hires.get("hires_sampler") or (hires.sampler if hires else None)
    part = dataclasses.replace(
        part_of(pairs, *filter(None, (found.sampler, second))),
        sampler=None if "sampler" in replaced else own,
        schedule=None if "scheduler" in replaced else schedule,
        **of_hires,
    )
    base = parameters_of(GenerationRequest)["sampler"].default if own else found.sampler
    return {"sampler": ("infotext Sampler", base), "a1111": ("infotext", to_json(part))}, hires


def _sampling(pairs: Mapping[str, str], ours: bool) -> dict[str, tuple[str, object]]:
    """What asks for ComfyUI's picture. A text without ``RNG`` has noise that a CPU drew."""
    sampler, scheduler = _schedule(pairs, ours)
    _check_noise(pairs, sampler)
    return {
        "sampler": ("infotext Sampler", sampler),
        "scheduler": ("infotext Schedule type", scheduler),
        "start_noise": ("infotext RNG", _RANDOM.get(pairs.get("RNG", "CPU"), pairs.get("RNG"))),
    }


def _schedule(pairs: Mapping[str, str], ours: bool) -> tuple[str, str]:
    """Sampler and scheduler. Without a schedule type it is the label's own ("DPM++ 2M Karras"), else "Uniform":

    every version that has "Automatic" writes the schedule type that the sampler then takes, if it takes one, and in
    versions before that a label without a suffix meant "Uniform".
    """
    sampler, scheduler = _named(sampler_from_label, "infotext Sampler", pairs["Sampler"])
    if "Schedule type" in pairs:
        scheduler = _named(scheduler_from_label, "infotext Schedule type", pairs["Schedule type"], sampler)
    if not ours and sampler in OWN_TIMESTEPS:
        scheduler = OWN_TIMESTEPS[sampler]
    return sampler, scheduler or "normal"


def _named(read: Any, key: str, label: str, *more: str) -> Any:
    try:
        return read(label, *more)
    except BadRequest as error:
        raise BadRequest(key, error.value, error.allowed) from None


def _check_noise(pairs: Mapping[str, str], sampler: str) -> None:
    """Raise ``BadRequest`` for other noise at the steps than the engine's, of a sampler that draws some there."""
    label = SAMPLERS[sampler].label
    if pairs.get("ENSD", "0") != "0" and sampler in _DRAWING:
        raise BadRequest("infotext ENSD", pairs["ENSD"], f"0 for {label}, which draws noise at its steps")
    eta = SAMPLERS[sampler].options.get("eta", 0.0 if sampler == "dpm_fast" else None)
    for key, own in (("Eta", eta), ("Eta DDIM", 0.0 if sampler == "ddim" else None)):
        if key in pairs and own is not None and _number(pairs[key]) != own:
            raise BadRequest(f"infotext {key}", pairs[key], f"{own:g}, or a text without it, for {label}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(side: object) -> int:
    """A side of the first pass, on which a second one may depend; the request says what is wrong with it."""
    text = str(side)
    return int(text) if text.isdecimal() and len(text) <= 9 else 0


def _size(pairs: Mapping[str, str], key: str, *, rounded: bool) -> tuple[object, object]:
    size = _SIZE.fullmatch(pairs[key])
    if size is None:
        raise BadRequest(f"infotext {key}", pairs[key], "WIDTHxHEIGHT in pixels")
    if not rounded or max(map(len, size.groups())) > 9:
        return size[1], size[2]
    width, height = (int(side) // _CELL * _CELL for side in size.groups())
    return width, height
