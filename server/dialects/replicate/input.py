"""A prediction's ``input``, ``version`` and webhook → what is asked for; and the input as a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.request import OneOf, WholeNumber
from server.backends.checkpoints import ModelInfo
from server.dialects.shared.diffusers_names import find_named, named_schemas
from server.dialects.shared.words import request_from, unknown, whole, words_of
from server.job import Webhook

OWNER = "local"
"""Of all models."""

_OUTPUTS = WholeNumber(1, 10)
_QUALITY = WholeNumber(1, 100)
_FORMATS = OneOf(("png", "jpg", "jpeg", "webp"))
_EVENTS = {"start": "started", "output": "output", "logs": "progress", "completed": "finished"}
"""Replicate's webhook events → ours."""
_BODY = ("version", "input", "webhook", "webhook_events_filter", "webhook_completed", "stream")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call that creates a prediction, checked."""

    request: GenerationRequest
    """The first; its seed may stay to be drawn."""
    count: int
    ending: str
    """What the URL of a picture ends with, such as ``.webp?quality=80``."""
    input: dict[str, Any]
    """As it came."""
    webhook: Webhook | None
    words: Mapping[str, str]
    """The caller's for the parameters."""


def asked(body: Mapping[str, Any], model: str | None, known: list[ModelInfo]) -> Asked:
    """``model``: the one that the path names, instead of a ``version`` in the body. Raises ``BadRequest`` and
    ``Problem``."""
    for name in body:
        if name not in _BODY:
            raise unknown(name, _BODY)
    if not isinstance(body.get("stream", False), bool | None):
        raise BadRequest("stream", body["stream"], "true or false")
    version = body.get("version")
    if model is None:
        model = model_of_version(version, known)
    elif version is not None:
        raise BadRequest("version", version, f"nothing, the path naming the model {model!r}")
    given = body.get("input")
    if not isinstance(given, dict):
        raise BadRequest("input", given, "an object with the parameters")
    if given.get("model") is not None:
        raise BadRequest("input.model", given["model"], "nothing: a prediction's version names its model")
    found = find_named({name: value for name, value in given.items() if name not in EXTRAS}, "input.")
    found["model"] = ("version", model)
    count = given.get("num_outputs")
    return Asked(
        request=request_from(found),
        count=1 if count is None else _OUTPUTS("input.num_outputs", whole(count)),
        ending=_ending(given),
        input=dict(given),
        webhook=_webhook(body),
        words={**words_of(found), "webhook_url": "webhook" if body.get("webhook") else "webhook_completed"},
    )


def model_of_version(version: object, known: list[ModelInfo]) -> str:
    """The name of the model for ``NAME``, its SHA-256, ``local/NAME`` or ``local/NAME:VERSION``."""
    allowed = f"one of {', '.join(info.name for info in known)}"
    if version is None:
        raise BadRequest("version", None, f"{allowed}; it is required")
    if not isinstance(version, str):
        raise BadRequest("version", version, allowed)
    path, colon, id = version.partition(":")
    owner, slash, name = path.rpartition("/")
    for info in known:
        ids = (info.name, info.sha256)
        if (slash and owner == OWNER and name == info.name and (not colon or id in ids)) or version in ids:
            return info.name
    raise UnknownCheckpoint("version", version, f"{allowed}; also as {OWNER}/NAME or {OWNER}/NAME:VERSION")


def model_of_path(owner: str, name: str, known: list[ModelInfo]) -> ModelInfo:
    """The model ``owner/name``. Raises ``UnknownCheckpoint``."""
    for info in known:
        if owner == OWNER and name == info.name:
            return info
    allowed = ", ".join(f"{OWNER}/{info.name}" for info in known)
    raise UnknownCheckpoint("model", f"{owner}/{name}", f"one of {allowed}")


def _ending(given: Mapping[str, Any]) -> str:
    value, quality = given.get("output_format"), given.get("output_quality")
    format = "png" if value is None else _FORMATS("input.output_format", value)
    if quality is None:
        return f".{format}"
    if format == "png":
        raise BadRequest("input.output_quality", quality, "nothing for a PNG, which loses nothing; or jpg or webp")
    return f".{format}?quality={_QUALITY('input.output_quality', whole(quality))}"


def _webhook(body: Mapping[str, Any]) -> Webhook | None:
    """Outputs and the end are told unless the filter says otherwise, as Replicate does; ``webhook_completed`` is the
    older way to ask for the end alone."""
    url, completed, chosen = body.get("webhook"), body.get("webhook_completed"), body.get("webhook_events_filter")
    if completed is not None:
        if url is not None or chosen is not None:
            raise BadRequest("webhook_completed", completed, "nothing beside webhook and webhook_events_filter")
        return Webhook(url=_web_address("webhook_completed", completed), events=("finished",), form="replicate")
    if url is None:
        if chosen:
            raise BadRequest("webhook_events_filter", chosen, "nothing, where there is no webhook")
        return None
    chosen = ["output", "completed"] if chosen is None else chosen
    if not isinstance(chosen, list) or not chosen or not all(isinstance(e, str) and e in _EVENTS for e in chosen):
        raise BadRequest("webhook_events_filter", chosen, f"a list of some of {', '.join(_EVENTS)}")
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


def _choice(low: int, high: int, default: int | None, description: str) -> dict[str, Any]:
    kind = {"type": ["integer", "null"], "minimum": low, "maximum": high}
    return {**kind, "default": default, "description": description}


EXTRAS: dict[str, dict[str, Any]] = {
    "num_outputs": _choice(1, 10, 1, "pictures; number i has the seed + i"),
    "output_format": {
        "type": ["string", "null"],
        "enum": [*_FORMATS.choices, None],
        "default": "png",
        "description": "of the pictures' URLs; a PNG carries its parameters",
    },
    "output_quality": _choice(1, 100, None, "of jpg and webp; 90 unless told"),
}
"""What an input may hold beside the parameters, as JSON schemas."""


def input_schema() -> dict[str, Any]:
    """The JSON schema of ``input``."""
    properties = {**named_schemas(leave=("model",)), **EXTRAS}
    return {"type": "object", "title": "Input", "properties": properties, "additionalProperties": False}


def body_schema(with_version: bool) -> dict[str, Any]:
    """The JSON schema of a call that creates a prediction."""
    address = {"type": ["string", "null"], "format": "uri"}
    properties: dict[str, Any] = {
        "input": input_schema(),
        "webhook": {**address, "description": "where the prediction is posted to"},
        "webhook_events_filter": {
            "type": ["array", "null"],
            "items": {"type": "string", "enum": list(_EVENTS)},
            "description": "what is told there; none: output and completed",
        },
        "webhook_completed": {**address, "description": "as webhook, for completed alone; not beside it"},
        "stream": {"type": ["boolean", "null"], "description": "without effect: urls.stream is always there"},
    }
    if with_version:
        properties["version"] = {"type": "string", "description": f"NAME, {OWNER}/NAME or {OWNER}/NAME:VERSION"}
    required = ["version", "input"] if with_version else ["input"]
    named = {"type": "object", "title": "Prediction", "required": required}
    return {**named, "properties": properties, "additionalProperties": False}
