"""A prediction's ``input``, ``version`` and webhook, read into a request; and the JSON schema of the input.

This module knows no route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.parameters import Flag, Many, OneOf, Optional, WholeNumber, check_fields, nullable, parameter
from server.backends.checkpoints import ModelInfo
from server.dialects.shared.diffusers_names import WORDS, named_schemas
from server.dialects.shared.diffusers_parts import WORDS as PART_WORDS
from server.dialects.shared.diffusers_parts import find_parts, part_schemas, started
from server.dialects.shared.pictures import CallPictures
from server.dialects.shared.reader import FRESH, Found, Reader, unknown, worded, words_of
from server.job import Webhook
from server.web.services import Services

OWNER = "local"
"""The owner of every model."""

_EVENTS = {"start": "started", "output": "output", "logs": "progress", "completed": "finished"}
"""Replicate's webhook events → ours."""
_FILTER = Many(OneOf(tuple(_EVENTS)), least=1)
_BODY = ("version", "input", "webhook", "webhook_events_filter", "webhook_completed", "stream")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What an input says beside the parameters of its pictures."""

    num_outputs: int = parameter(1, WholeNumber(1, 10), "pictures; number i has the seed + i")
    output_format: str = parameter(
        "png", OneOf(("png", "jpg", "jpeg", "webp")), "of the pictures' URLs; a PNG carries its parameters"
    )
    output_quality: int | None = parameter(None, Optional(WholeNumber(1, 100)), "of jpg and webp; by default 90")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.output_format == "png" and self.output_quality is not None:
            allowed = "nothing for a PNG, which loses nothing; or jpg or webp"
            raise BadRequest("output_quality", self.output_quality, allowed)

    @property
    def ending(self) -> str:
        """What the URL of a picture ends with, such as ``.webp?quality=80``."""
        quality = "" if self.output_quality is None else f"?quality={self.output_quality}"
        return f".{self.output_format}{quality}"


READER = Reader(FRESH, Controls(), words={**WORDS, **PART_WORDS})


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that creates a prediction, checked."""

    request: GenerationRequest
    """The first request. Its seed may be None, to be drawn later."""
    controls: Controls
    input: dict[str, Any]
    """The input as the caller sent it, with URLs in place of pictures that came as text."""
    webhook: Webhook | None
    words: Mapping[str, str]
    """The caller's words for the parameters."""


async def read_call(
    body: Mapping[str, Any], model: str | None, services: Services, pictures: CallPictures, base_url: str
) -> Call:
    """Return the call that ``body`` describes. ``model``: the model that the path names instead of a ``version``.

    Raises ``BadRequest`` and ``Problem``.
    """
    if strange := {name: value for name, value in body.items() if name not in _BODY}:
        raise unknown(strange, _BODY)
    if body.get("stream") is not None:
        Flag().check("stream", body["stream"])
    version = body.get("version")
    if model is None:
        model = model_of_version(version, services)
    elif version is not None:
        raise BadRequest("version", version, f"nothing, because the path names the model {model!r}")
    given = body.get("input")
    if not isinstance(given, dict):
        raise BadRequest("input", given, "an object with the parameters")
    if given.get("model") is not None:
        raise BadRequest("input.model", given["model"], "nothing: a prediction's version names its model")
    found, parts = find_parts(READER, given, "input.")
    found |= {"model": ("version", model)}
    with worded(parts):
        controls = READER.read(Controls, found)
        taken = await started(READER, found, services, pictures)
        request = READER.read(GenerationRequest, taken)
    webhook_word = "webhook" if body.get("webhook") else "webhook_completed"
    return Call(
        request=request,
        controls=controls,
        input=_shown(given, found, parts, taken, base_url),
        webhook=_webhook(body),
        words={**words_of(taken), **parts, "webhook_url": webhook_word},
    )


def _shown(
    given: Mapping[str, Any], found: Found, parts: Mapping[str, str], taken: Found, base_url: str
) -> dict[str, Any]:
    """Return the input with URLs in place of the pictures that came as text: each answer repeats it."""

    def url(value: object, id: object) -> object:
        is_url = isinstance(value, str) and value.startswith(("http://", "https://"))
        return value if is_url else f"{base_url}/api/v1/inputs/{id}"

    shown = dict(given)
    for name in ("image", "mask"):
        if name in found:
            word, value = found[name]
            shown[word.removeprefix("input.")] = url(value, taken[name][1])
    controls: Any = taken.get("controls", ("", ()))[1]
    if "controls[0].image" in parts:
        shown["control_image"] = url(given["control_image"], controls[0]["image"])
    elif controls:
        shown["controls"] = [
            {**control, "image": url(before["image"], control["image"])}
            for before, control in zip(given["controls"], controls, strict=True)
        ]
    return shown


def model_of_version(version: object, services: Services) -> str:
    """Return the model's name for ``NAME``, its SHA-256, ``local/NAME``, ``local/NAME:VERSION``, or an alias.

    Raises ``BadRequest`` and ``UnknownCheckpoint``.
    """
    known, aliases = services.backend.models(), services.settings.model_aliases
    allowed = f"one of {', '.join(info.name for info in known)}"
    if version is None:
        raise BadRequest("version", None, f"{allowed}; it is required")
    if not isinstance(version, str):
        raise BadRequest("version", version, allowed)
    version = aliases.get(version, version)
    path, colon, id = version.partition(":")
    owner, slash, name = path.partition("/")  # the name has a slash where only its folder tells it from another
    for info in known:
        ids = (info.name, info.sha256)
        if (slash and owner == OWNER and name == info.name and (not colon or id in ids)) or version in ids:
            return info.name
    raise UnknownCheckpoint("version", version, f"{allowed}; also as {OWNER}/NAME or {OWNER}/NAME:VERSION")


def model_of_path(owner: str, name: str, services: Services) -> ModelInfo:
    """Return the model ``owner/name``, which may be an alias. Raises ``UnknownCheckpoint``."""
    known = services.backend.models()
    real = services.settings.model_aliases.get(f"{owner}/{name}")
    for info in known:
        if real == info.name or (owner == OWNER and name == info.name):
            return info
    allowed = ", ".join(f"{OWNER}/{info.name}" for info in known)
    raise UnknownCheckpoint("model", f"{owner}/{name}", f"one of {allowed}")


def _webhook(body: Mapping[str, Any]) -> Webhook | None:
    """Return the webhook. As at Replicate, its events are the outputs and the end unless the filter says otherwise, and
    the end alone for the older ``webhook_completed``."""
    url, completed, chosen = body.get("webhook"), body.get("webhook_completed"), body.get("webhook_events_filter")
    if completed is not None:
        if url is not None or chosen is not None:
            raise BadRequest("webhook_completed", completed, "nothing beside webhook and webhook_events_filter")
        return Webhook(url=_web_address("webhook_completed", completed), events=("finished",), form="replicate")
    if url is None:
        if chosen:
            raise BadRequest("webhook_events_filter", chosen, "nothing, where there is no webhook")
        return None
    chosen = _FILTER.read("webhook_events_filter", ["output", "completed"] if chosen is None else chosen)
    events = tuple(dict.fromkeys(_EVENTS[event] for event in chosen))
    return Webhook(url=_web_address("webhook", url), events=events, form="replicate")


def _web_address(name: str, url: object) -> str:
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isprintable() and len(url) <= 2000 else None
        if isinstance(url, str) and parts is not None and parts.scheme in ("http", "https") and parts.hostname:
            return url
    except ValueError:
        pass
    raise BadRequest(name, url, "an http or https URL")


def input_schema() -> dict[str, Any]:
    """Return the JSON schema of ``input``."""
    properties = {**named_schemas(READER, leave=("model",)), **part_schemas()}
    return {"type": "object", "title": "Input", "properties": properties, "additionalProperties": False}


def body_schema(with_version: bool) -> dict[str, Any]:
    """Return the JSON schema of a call that creates a prediction; ``with_version``: whether it names the model."""
    address = {"type": ["string", "null"], "format": "uri"}
    properties: dict[str, Any] = {
        "input": input_schema(),
        "webhook": {**address, "description": "where the prediction is posted to"},
        "webhook_events_filter": {
            **nullable(_FILTER.schema()),
            "description": "the events that are posted there; by default, output and completed",
        },
        "webhook_completed": {**address, "description": "as webhook, for completed alone; not beside it"},
        "stream": {"type": ["boolean", "null"], "description": "without effect: urls.stream is always there"},
    }
    if with_version:
        properties["version"] = {"type": "string", "description": f"NAME, {OWNER}/NAME or {OWNER}/NAME:VERSION"}
    required = ["version", "input"] if with_version else ["input"]
    named = {"type": "object", "title": "Prediction", "required": required}
    return {**named, "properties": properties, "additionalProperties": False}
