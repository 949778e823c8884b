"""diffusers' and Replicate's words for what a request has beside its scalars: pictures, LoRAs and a ControlNet.

Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import BadRequest
from server.dialects.shared.diffusers_names import find_named
from server.dialects.shared.pictures import PICTURE_SCHEMA, CallPictures, fitting_size
from server.dialects.shared.reader import Found, Reader
from server.web.services import Services

WORDS: Mapping[str, str] = {
    "prompt_strength": "denoise",
    "strength": "denoise",
    "init_image": "image",
    "mask_image": "mask",
}
"""Words that mean one of our parameters each."""

_LORAS = (("lora_weights", "lora_scale"), ("extra_lora", "extra_lora_scale"))
_CONTROL: Mapping[str, str] = {
    "control_image": "image",
    "controlnet": "model",
    "controlnet_conditioning_scale": "strength",
    "control_guidance_start": "start",
    "control_guidance_end": "end",
}
_PARTS = (*(word for pair in _LORAS for word in pair), *_CONTROL)
_STRENGTH, _MASKED_STRENGTH = 0.8, 1.0
"""diffusers' defaults, without a mask and with one."""


def find_parts(reader: Reader, given: Mapping[str, object], place: str) -> tuple[Found, dict[str, str]]:
    """Return the parameters in ``given`` as ``find_named`` does, and the caller's words for fields of their parts.

    Raises ``BadRequest``, for what is missing too, and ``Problem``.
    """
    parts = {word: given[word] for word in _PARTS if given.get(word) is not None}
    found = find_named(reader, {word: value for word, value in given.items() if word not in _PARTS}, place)
    words: dict[str, str] = {}
    for name, made in (("loras", _loras(parts, place, words)), ("controls", _controls(parts, place, words))):
        if made and name in found:
            first = next(word for part, word in words.items() if part.startswith(name))
            raise BadRequest(found[name][0], found[name][1], f"nothing beside {first}, which says the same")
        if made:
            found[name] = name, made
    if "image" not in found and "denoise" in found and found["denoise"][0].removeprefix(place) in WORDS:
        raise BadRequest(*found["denoise"], "nothing, where there is no image")
    return found, words


def _loras(parts: Mapping[str, object], place: str, words: dict[str, str]) -> list[dict[str, object]]:
    """Return the LoRAs, and note which of the caller's words each of their fields is."""
    made: list[dict[str, object]] = []
    for weights, scale in _LORAS:
        if weights in parts:
            words |= {f"loras[{len(made)}].name": place + weights, f"loras[{len(made)}].strength": place + scale}
            made.append({"name": parts[weights], **({"strength": parts[scale]} if scale in parts else {})})
        elif scale in parts:
            raise BadRequest(place + scale, parts[scale], f"nothing, where there is no {weights}")
    return made


def _controls(parts: Mapping[str, object], place: str, words: dict[str, str]) -> list[dict[str, object]]:
    """Return the ControlNet, if one is asked for, and note which of the caller's words each of its fields is."""
    given = {field: parts[word] for word, field in _CONTROL.items() if word in parts}
    if not given:
        return []
    missing = [word for word in ("control_image", "controlnet") if word not in parts]
    if missing:
        each = [BadRequest(place + word, None, f"a value; {', '.join(parts)} needs one") for word in missing]
        raise BadRequest.together(each)
    words |= {f"controls[0].{field}": place + word for word, field in _CONTROL.items()}
    return [given]


async def started(reader: Reader, found: Found, services: Services, pictures: CallPictures) -> Found:
    """Return ``found`` with its pictures kept, and with what an absent parameter is where there is an image.

    That is the picture's own size, a strength of 0.8 (1 with a mask), and no prompt. Raises what ``CallPictures.take``
    raises.
    """
    found = await pictures.take_all(found, reader)
    if "image" not in found:
        return found
    word, id = found["image"]
    width, height = fitting_size(pictures.inputs[str(id)].size, services.settings.max_pixels)
    strength = _MASKED_STRENGTH if "mask" in found else _STRENGTH
    return {
        "width": (word, width),
        "height": (word, height),
        "denoise": (word, strength),
        "prompt": (word, ""),
        **found,
    }


def part_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of the words that stand for parts of a request."""
    text, number = {"type": ["string", "null"], "minLength": 1}, {"type": ["number", "null"]}
    return {
        "lora_weights": {**text, "description": "a LoRA from the models folders"},
        "lora_scale": {**number, "description": "how strongly it works; by default 1"},
        "extra_lora": {**text, "description": "a second LoRA"},
        "extra_lora_scale": {**number, "description": "how strongly that works; by default 1"},
        "control_image": {**PICTURE_SCHEMA, "type": ["string", "null"]},
        "controlnet": {**text, "description": "the ControlNet that follows control_image"},
        "controlnet_conditioning_scale": {**number, "description": "how strongly it is followed; by default 1"},
        "control_guidance_start": {**number, "description": "the share of the sampling from which on it is followed"},
        "control_guidance_end": {**number, "description": "the share of the sampling up to which it is followed"},
    }
