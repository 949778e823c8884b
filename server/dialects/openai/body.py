"""The body of ``images/generations`` → what is asked for; and the same as a JSON schema.

null means not given, as OpenAI's clients mean it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine import BadRequest, GenerationRequest
from engine.request import OneOf, WholeNumber
from server.backends.checkpoints import ModelInfo
from server.dialects.shared.words import (
    PARAMETERS,
    Found,
    ensure_known,
    find_parameters,
    request_from,
    schemas,
    unknown,
    whole,
    words_of,
)
from server.problems import unsupported

Format = Literal["png", "jpeg", "webp"]

DEFAULT_SIZE = "512x512"
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_N = WholeNumber(1, 10)
_COMPRESSION = WholeNumber(0, 100)
_PARTIAL = WholeNumber(0, 3)
_RESPONSE = OneOf(("b64_json", "url"))
_OUTPUT = OneOf(("png", "jpeg", "webp"))
_MODERATION = OneOf(("auto", "low"))
_LONGEST_USER = 512


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call to ``images/generations``, checked."""

    request: GenerationRequest
    """The first; its seed may stay to be drawn."""
    n: int
    response_format: str
    output_format: Format
    quality: int | None
    """Of JPEG and WebP, 0 … 100; JPEG's lowest is 1, which 0 gives too."""
    stream: bool
    partial_images: int
    user: str | None
    words: Mapping[str, str]
    """The caller's for the parameters."""

    @property
    def size(self) -> str:
        return f"{self.request.width}x{self.request.height}"


def asked(body: Mapping[str, Any], models: Iterable[ModelInfo]) -> Asked:
    """Raises ``BadRequest`` or ``Problem``, naming the field, for whatever is not allowed or not supported."""
    given = {name: value for name, value in body.items() if value is not None}
    for name in body:
        if name not in CONTROLS and name not in PARAMETERS:
            raise unknown(name, [*CONTROLS, *(each for each in PARAMETERS if each not in CONTROLS)])
    if "prompt" not in given:
        raise BadRequest("prompt", body.get("prompt"), "text; it is required")
    found = find_parameters({name: value for name, value in given.items() if name in PARAMETERS}, {})
    ensure_known(found, models)
    _read_size(given, found)
    _refuse_what_is_not_there(given)
    output_format = _output_format(given)
    made = Asked(
        request=request_from(found),
        n=_N("n", whole(given.get("n", 1))),
        response_format=_RESPONSE("response_format", given.get("response_format", "b64_json")),
        output_format=output_format,
        quality=_quality(given, output_format),
        stream=_boolean("stream", given.get("stream", False)),
        partial_images=_PARTIAL("partial_images", whole(given.get("partial_images", 0))),
        user=_user(given),
        words=words_of(found),
    )
    _check_stream(made)
    return made


def _read_size(given: Mapping[str, Any], found: Found) -> None:
    """Put ``size`` into ``found`` as width and height."""
    size = given.get("size", "auto")
    if size == "auto":
        return
    for name in ("width", "height"):
        if name in found:
            raise BadRequest(name, found[name][1], f"nothing beside size {size!r}, or size auto")
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise BadRequest("size", size, "auto, or WIDTHxHEIGHT such as 512x768")
    found["width"], found["height"] = ("size", int(match[1])), ("size", int(match[2]))


def _refuse_what_is_not_there(given: Mapping[str, Any]) -> None:
    """What would change the picture there and has nothing here."""
    if given.get("quality", "auto") not in ("auto", "standard"):
        raise unsupported("quality", given["quality"], "auto (more steps are what takes more care here)")
    if "style" in given:
        raise unsupported("style", given["style"], "none (say it in the prompt)")
    if given.get("background", "auto") not in ("auto", "opaque"):
        raise unsupported("background", given["background"], "auto or opaque")
    _MODERATION("moderation", given.get("moderation", "auto"))


def _output_format(given: Mapping[str, Any]) -> Format:
    value = _OUTPUT("output_format", given.get("output_format", "png"))
    return "jpeg" if value == "jpeg" else "webp" if value == "webp" else "png"


def _quality(given: Mapping[str, Any], output_format: Format) -> int | None:
    compression = _COMPRESSION("output_compression", whole(given.get("output_compression", 100)))
    if output_format != "png":
        return compression
    if compression != 100:
        raise BadRequest("output_compression", compression, "100 for a PNG, which loses nothing; or jpeg or webp")
    return None


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(name, value, "true or false")
    return value


def _user(given: Mapping[str, Any]) -> str | None:
    """Whom the caller calls for; kept with the job, and nothing else."""
    for name in ("safety_identifier", "user"):
        value = given.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST_USER and value.isprintable()):
            raise BadRequest(name, value, f"up to {_LONGEST_USER} printable characters")
    return given.get("safety_identifier") or given.get("user")


def _check_stream(made: Asked) -> None:
    if not made.stream:
        if made.partial_images:
            raise BadRequest("partial_images", made.partial_images, "0, or 0 to 3 with stream true")
        return
    if made.n != 1:
        raise BadRequest("n", made.n, "1 with stream true: its events do not say which picture they are of")
    if made.request.batch_size != 1:
        raise BadRequest("batch_size", made.request.batch_size, "1 with stream true")
    if made.response_format != "b64_json":
        raise BadRequest("response_format", made.response_format, "b64_json with stream true")


def _choice(*values: str, default: str | None, description: str) -> dict[str, Any]:
    return {"type": ["string", "null"], "enum": [*values, None], "default": default, "description": description}


def _number(low: int, high: int, default: int, description: str) -> dict[str, Any]:
    kind = {"type": ["integer", "null"], "minimum": low, "maximum": high}
    return {**kind, "default": default, "description": description}


_NAME = {"type": ["string", "null"], "maxLength": _LONGEST_USER, "description": "kept with the job, without effect"}

CONTROLS: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string", "description": PARAMETERS["prompt"].metadata["help"]},
    "model": {"type": ["string", "null"], "description": "a name of GET /v1/models; none: the default"},
    "n": _number(1, 10, 1, "pictures; number i has the seed + i"),
    "size": {
        "type": ["string", "null"],
        "pattern": r"^(auto|[0-9]{1,5}x[0-9]{1,5})$",
        "default": "auto",
        "description": f"WIDTHxHEIGHT, multiples of 8; auto: width and height, else {DEFAULT_SIZE}",
    },
    "quality": _choice("auto", "standard", default="auto", description="there is but one"),
    "style": {"type": "null", "description": "not supported"},
    "response_format": _choice("b64_json", "url", default="b64_json", description="url needs no key to be read"),
    "output_format": _choice("png", "jpeg", "webp", default="png", description="a PNG carries its parameters"),
    "output_compression": _number(0, 100, 100, "quality of JPEG and WebP, JPEG's 0 being its 1; 100 for PNG"),
    "background": _choice("auto", "opaque", default="auto", description="transparent is not supported"),
    "moderation": _choice("auto", "low", default="auto", description="without effect: nothing is moderated"),
    "stream": {"type": ["boolean", "null"], "default": False, "description": "server-sent events; n must be 1"},
    "partial_images": _number(0, 3, 0, "rough pictures on the way, with stream"),
    "user": _NAME,
    "safety_identifier": _NAME,
}
"""OpenAI's parameters, as JSON schemas."""


def schema() -> dict[str, Any]:
    """The JSON schema of the body."""
    properties = {**CONTROLS, **schemas({}, leave=("prompt", "model"))}
    named = {"type": "object", "title": "ImageGeneration", "required": ["prompt"]}
    return {**named, "properties": properties, "additionalProperties": False}
