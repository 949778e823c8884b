"""OpenAI's parameters beside ``prompt``, ``model`` and the pictures, and the JSON schemas of the calls.

null means that a parameter is absent, as OpenAI's clients use it. This module knows no route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine import BadRequest
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
from server.dialects.shared.reader import FRESH, Reader
from server.pictures.formats import FORMATS, Format
from server.problems import unsupported

DEFAULT_SIZE = "512x512"
SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
STEPS: Mapping[str, int | None] = {"auto": None, "standard": None, "low": 10, "medium": 20, "high": 40, "hd": 40}
"""The quality → its sampling steps; None where it says nothing of them."""

_USER = Optional(Text(most=512, printable=True))


@dataclass(frozen=True)
class _Size(Kind):
    """``auto``, or the width and height of a picture such as ``512x768``."""

    @property
    def allowed(self) -> str:
        return "auto, or WIDTHxHEIGHT such as 512x768"

    def check(self, name: str, value: object) -> str:
        if not isinstance(value, str) or (value != "auto" and not SIZE.fullmatch(value)):
            raise BadRequest(name, value, self.allowed)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^(auto|{SIZE.pattern})$"}


@dataclass(frozen=True, kw_only=True)
class Controls:
    """OpenAI's parameters, beside ``prompt`` and ``model``, which are the request's own."""

    n: int = parameter(1, WholeNumber(1, 10), "pictures; number i has the seed + i")
    size: str = parameter(
        "auto", _Size(), f"WIDTHxHEIGHT, multiples of 8; auto: width and height, the image's size, or {DEFAULT_SIZE}"
    )
    quality: str = parameter("auto", OneOf(tuple(STEPS)), "the steps: low 10, medium 20, high and hd 40")
    style: None = parameter(None, Optional(OneOf(())), "not supported")
    response_format: str = parameter("b64_json", OneOf(("b64_json", "url")), "a url works without a key")
    output_format: Format = parameter("png", OneOf(FORMATS), "a PNG carries its parameters")
    output_compression: int = parameter(
        100, WholeNumber(0, 100), "quality of JPEG and WebP, where JPEG's 0 is its 1; 100 for PNG"
    )
    background: str = parameter("auto", OneOf(("auto", "opaque")), "transparent is not supported")
    moderation: str = parameter("auto", OneOf(("auto", "low")), "without effect: nothing is moderated")
    input_fidelity: str | None = parameter(
        None, Optional(OneOf(("low", "high"))), "the strength, where that is absent: 0.8 or 0.5; with a mask, 1 or 0.8"
    )
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

    @property
    def shown_quality(self) -> str | None:
        """The quality in the words of OpenAI's answers; None where the call says nothing of it."""
        return None if STEPS[self.quality] is None else self.quality.replace("hd", "high")


READER = Reader(FRESH, Controls(), words={"strength": "denoise"})


def refuse_missing_features(body: Mapping[str, Any]) -> None:
    """Refuse what changes the picture at OpenAI and does not exist here."""
    if body.get("style") is not None:
        raise unsupported("style", body["style"], "none (describe the style in the prompt)")
    if body.get("background") not in (None, "auto", "opaque"):
        raise unsupported("background", body["background"], "auto or opaque")
