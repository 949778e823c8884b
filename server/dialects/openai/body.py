"""The body of ``images/generations``, read into a request and its controls; and the body's JSON schema.

null means that a parameter is absent, as OpenAI's clients use it. This module knows no route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine import BadRequest, GenerationRequest
from engine.parameters import (
    Flag,
    Kind,
    OneOf,
    Optional,
    Text,
    WholeNumber,
    check_fields,
    parameter,
)
from server.backends.checkpoints import ModelInfo
from server.dialects.shared.reader import FRESH, Found, Reader, ensure_known, words_of
from server.pictures.formats import FORMATS, Format
from server.problems import unsupported

DEFAULT_SIZE = "512x512"
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_USER = Optional(Text(most=512, printable=True))


@dataclass(frozen=True)
class _Size(Kind):
    """``auto``, or the width and height of a picture such as ``512x768``."""

    @property
    def allowed(self) -> str:
        return "auto, or WIDTHxHEIGHT such as 512x768"

    def check(self, name: str, value: object) -> str:
        if not isinstance(value, str) or (value != "auto" and not _SIZE.fullmatch(value)):
            raise BadRequest(name, value, self.allowed)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^(auto|{_SIZE.pattern})$"}


@dataclass(frozen=True, kw_only=True)
class Controls:
    """OpenAI's parameters, beside ``prompt`` and ``model``, which are the request's own."""

    n: int = parameter(1, WholeNumber(1, 10), "pictures; number i has the seed + i")
    size: str = parameter(
        "auto", _Size(), f"WIDTHxHEIGHT, multiples of 8; auto: width and height, or else {DEFAULT_SIZE}"
    )
    quality: str = parameter("auto", OneOf(("auto", "standard")), "without effect: there is one quality")
    style: None = parameter(None, Optional(OneOf(())), "not supported")
    response_format: str = parameter("b64_json", OneOf(("b64_json", "url")), "a url works without a key")
    output_format: Format = parameter("png", OneOf(FORMATS), "a PNG carries its parameters")
    output_compression: int = parameter(
        100, WholeNumber(0, 100), "quality of JPEG and WebP, where JPEG's 0 is its 1; 100 for PNG"
    )
    background: str = parameter("auto", OneOf(("auto", "opaque")), "transparent is not supported")
    moderation: str = parameter("auto", OneOf(("auto", "low")), "without effect: nothing is moderated")
    stream: bool = parameter(False, Flag(), "server-sent events; n must be 1")
    partial_images: int = parameter(0, WholeNumber(0, 3), "rough pictures on the way, with stream")
    user: str | None = parameter(None, _USER, "kept with the job, without effect")
    safety_identifier: str | None = parameter(None, _USER, "kept with the job, without effect")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.output_format == "png" and self.output_compression != 100:
            allowed = "100 for a PNG, which loses nothing; or jpeg or webp"
            raise BadRequest("output_compression", self.output_compression, allowed)
        if self.partial_images and not self.stream:
            raise BadRequest("partial_images", self.partial_images, "0, or 0 to 3 with stream true")
        if self.stream and self.n != 1:
            raise BadRequest("n", self.n, "1 with stream true: its events do not say which picture they are of")
        if self.stream and self.response_format != "b64_json":
            raise BadRequest("response_format", self.response_format, "b64_json with stream true")

    @property
    def picture_quality(self) -> int | None:
        """The quality of JPEG and WebP, 0 to 100, or None for a PNG. JPEG's lowest is 1, which 0 gives too."""
        return None if self.output_format == "png" else self.output_compression


READER = Reader(FRESH, Controls())


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call to ``images/generations``, checked."""

    request: GenerationRequest
    """The first request. Its seed may be None, to be drawn later."""
    controls: Controls
    words: Mapping[str, str]
    """The caller's words for the parameters."""

    @property
    def size(self) -> str:
        """The pictures' size as OpenAI writes it."""
        return f"{self.request.width}x{self.request.height}"

    @property
    def user(self) -> str | None:
        """The user whom the caller names. It is kept with the job and has no effect."""
        return self.controls.safety_identifier or self.controls.user


def read_call(body: Mapping[str, Any], models: Iterable[ModelInfo]) -> Call:
    """Return the call that ``body`` describes. Raises ``BadRequest`` or ``Problem`` for what cannot be had."""
    found = READER.find(body)
    if "prompt" not in found:
        raise BadRequest("prompt", body.get("prompt"), "text; it is required")
    ensure_known(found, models)
    _refuse_missing_features(body)
    controls = READER.read(Controls, found)
    found |= _size(controls.size, found)
    request = READER.read(GenerationRequest, found)
    if controls.stream and request.batch_size != 1:
        raise BadRequest("batch_size", request.batch_size, "1 with stream true")
    return Call(request=request, controls=controls, words=words_of(found))


def _size(size: str, found: Found) -> Found:
    """Return the width and height that ``size`` stands for."""
    match = _SIZE.fullmatch(size)
    if match is None:
        return {}
    for name in ("width", "height"):
        if name in found:
            raise BadRequest(name, found[name][1], f"nothing beside size {size!r}, or size auto")
    return {"width": ("size", int(match[1])), "height": ("size", int(match[2]))}


def _refuse_missing_features(body: Mapping[str, Any]) -> None:
    """Refuse what changes the picture at OpenAI and does not exist here."""
    if body.get("quality") not in (None, "auto", "standard"):
        raise unsupported("quality", body["quality"], "auto (more steps give more detail here)")
    if body.get("style") is not None:
        raise unsupported("style", body["style"], "none (describe the style in the prompt)")
    if body.get("background") not in (None, "auto", "opaque"):
        raise unsupported("background", body["background"], "auto or opaque")


def schema() -> dict[str, Any]:
    """Return the JSON schema of the body."""
    properties = READER.schemas()
    properties["prompt"] = {"type": "string", "description": properties["prompt"]["description"]}
    properties["model"]["description"] = "a name of GET /v1/models; none: the default"
    named = {"type": "object", "title": "ImageGeneration", "required": ["prompt"]}
    return {**named, "properties": properties, "additionalProperties": False}
