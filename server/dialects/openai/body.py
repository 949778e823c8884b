"""The body of a call, read into a request and its controls; its pictures are kept on the way. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine import BadRequest, GenerationRequest
from server.dialects.openai.controls import READER, SIZE, STEPS, Controls, refuse_missing_features
from server.dialects.openai.sources import WORDS, Source, image_in, mask_in, schemas
from server.dialects.shared.model_names import with_model
from server.dialects.shared.pictures import CallPictures, fitting_size
from server.dialects.shared.reader import Found, words_of
from server.inputs.input import Input
from server.web.services import Services

Kind = Literal["generation", "edit", "variation"]

_STRENGTHS = {("low", False): 0.8, ("high", False): 0.5, ("low", True): 1.0, ("high", True): 0.8}
"""Whether the input's fidelity is high, and whether there is a mask → the strength."""

_VARIATION_STRENGTH = 0.6
"""A variation has no prompt as a rule, so that only its image says what it shows."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call, checked."""

    kind: Kind
    request: GenerationRequest
    """The first request. Its seed may be None, to be drawn later."""
    controls: Controls
    words: Mapping[str, str]
    """The caller's words for the parameters."""
    asked: Mapping[str, Any]
    """The body, with ids in place of the pictures."""

    @property
    def user(self) -> str | None:
        """The user whom the caller names. It is kept with the job and has no effect."""
        return self.controls.safety_identifier or self.controls.user


async def read_call(kind: Kind, body: Mapping[str, Any], services: Services, pictures: CallPictures) -> Call:
    """Return the call that ``body`` describes. Raises ``BadRequest`` or ``Problem`` for what cannot be had."""
    found = READER.find({word: value for word, value in body.items() if word not in WORDS})
    image, mask = image_in(body), mask_in(body)
    _ensure_all_there(kind, found, image)
    found = with_model(found, services)
    refuse_missing_features(body)
    controls = READER.read(Controls, found)
    found = await pictures.take_all(found, READER)
    found |= _steps(controls, found)
    if image is not None:
        found |= await _start(kind, image, mask, controls, found, services, pictures)
    elif mask is not None or controls.input_fidelity is not None:
        word = "mask" if mask is not None else "input_fidelity"
        raise BadRequest(word, "a picture" if mask else controls.input_fidelity, "nothing, where there is no image")
    found |= _size(controls.size, found)
    request = READER.read(GenerationRequest, found)
    if controls.stream and request.batch_size != 1:
        raise BadRequest("batch_size", request.batch_size, "1 with stream true")
    taken = {name: found[name][1] for name in ("image", "mask", "controls") if name in found}
    asked = {word: value for word, value in body.items() if word not in WORDS} | taken
    return Call(kind=kind, request=request, controls=controls, words=words_of(found), asked=asked)


def _ensure_all_there(kind: Kind, found: Found, image: Source | None) -> None:
    """Raise ``BadRequest`` that names all that is missing."""
    missing = []
    if kind != "generation" and image is None:
        missing.append(BadRequest("image", None, "a picture; it is required"))
    if kind != "variation" and "prompt" not in found:
        missing.append(BadRequest("prompt", None, "text; it is required"))
    if missing:
        raise BadRequest.together(missing)


def _steps(controls: Controls, found: Found) -> Found:
    """Return the steps that the quality stands for."""
    steps = STEPS[controls.quality]
    if steps is None:
        return {}
    if "steps" in found:
        raise BadRequest("steps", found["steps"][1], f"nothing beside quality {controls.quality!r}, or quality auto")
    return {"steps": ("quality", steps)}


async def _start(
    kind: Kind,
    image: Source,
    mask: Source | None,
    controls: Controls,
    found: Found,
    services: Services,
    pictures: CallPictures,
) -> Found:
    """Return what follows from the picture to start from: its id, the mask's, the size, the strength, the prompt."""
    given = await pictures.take(image.value, image.field)
    start: Found = {"image": (image.field, given.id)}
    masked = await _mask(kind, mask, given, image.field, pictures)
    if masked is not None:
        start["mask"] = masked
    if controls.size == "auto":
        sides = zip(("width", "height"), fitting_size(given.size, services.settings.max_pixels), strict=True)
        start |= {name: ("size", side) for name, side in sides if name not in found}
    if "denoise" not in found:
        strength = _STRENGTHS[controls.input_fidelity or "low", masked is not None]
        start["denoise"] = "strength", _VARIATION_STRENGTH if kind == "variation" else strength
    elif controls.input_fidelity is not None:
        allowed = f"nothing beside {found['denoise'][0]}, which says the same"
        raise BadRequest("input_fidelity", controls.input_fidelity, allowed)
    if "prompt" not in found:
        start["prompt"] = "prompt", ""
    return start


async def _mask(
    kind: Kind, mask: Source | None, image: Input, field: str, pictures: CallPictures
) -> tuple[str, str] | None:
    """Return the mask's place and id: what is transparent, in the mask or else in the image itself, is painted anew."""
    if mask is None:
        made = await pictures.mask_of(image, field) if image.size.alpha and kind != "variation" else None
        return None if made is None else (field, made.id)
    given = await pictures.take(mask.value, mask.field)
    sizes = [f"{each.size.width}x{each.size.height}" for each in (given, image)]
    if sizes[0] != sizes[1]:
        raise BadRequest(
            mask.field, f"a picture of {sizes[0]}", f"a picture as large as the image, which has {sizes[1]}"
        )
    made = await pictures.mask_of(given, mask.field)
    if made is None:
        raise BadRequest(mask.field, "an opaque picture", "a picture that is transparent where to paint anew")
    return mask.field, made.id


def _size(size: str, found: Found) -> Found:
    """Return the width and height that ``size`` stands for."""
    match = SIZE.fullmatch(size)
    if match is None:
        return {}
    for name in ("width", "height"):
        if name in found:
            raise BadRequest(name, found[name][1], f"nothing beside size {size!r}, or size auto")
    return {"width": ("size", int(match[1])), "height": ("size", int(match[2]))}


def schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema of the body."""
    properties = {**READER.schemas(), **schemas()}
    properties["prompt"] = {"type": "string", "description": properties["prompt"]["description"]}
    properties["model"]["description"] = "a name of GET /v1/models; none or empty: the default"
    required = {"generation": ["prompt"], "edit": ["prompt"], "variation": []}[kind]
    described: dict[str, Any] = {"type": "object", "title": f"Image{kind.capitalize()}", "required": required}
    if kind != "generation":
        described["anyOf"] = [{"required": ["image"]}, {"required": ["images"]}]
    return {**described, "properties": properties, "additionalProperties": False}
