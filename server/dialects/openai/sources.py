"""Finds the pictures in a call's body, in each of the forms that OpenAI's clients send them in. Knows no route.

A form has ``image``, or ``image[]`` once for each picture, and ``mask``. JSON has ``images``, a list of objects with an
``image_url`` or a ``file_id``, and such an object as ``mask``; the form's names are taken too, with text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine import BadRequest
from server.dialects.shared.pictures import ALLOWED, PICTURE_SCHEMA
from server.problems import unsupported

WORDS = ("image", "images", "mask")
"""The words in a body that hold pictures."""

_KEYS = ("image_url", "file_id")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture in a body."""

    field: str
    """Where it is."""
    value: object
    """The picture as ``CallPictures.take`` takes it."""


def image_in(body: Mapping[str, Any]) -> Source | None:
    """Return the one image in ``body``, None where there is none.

    Raises ``Problem`` for several images, which are not supported, and ``BadRequest`` for two words of one meaning.
    """
    given = [word for word in ("image", "images") if body.get(word) is not None]
    if len(given) == 2:
        raise BadRequest("images", "a second picture", "nothing beside image, which says the same")
    if not given:
        return None
    word, value = given[0], body[given[0]]
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise unsupported(word, f"{len(value)} pictures", "one picture")
        return _source(f"{word}[0]", value[0]) if value else None
    return _source(word, value)


def mask_in(body: Mapping[str, Any]) -> Source | None:
    """Return the mask in ``body``, None where there is none. Raises ``BadRequest``."""
    value = body.get("mask")
    return None if value is None else _source("mask", value)


def _source(field: str, value: object) -> Source:
    if not isinstance(value, Mapping):
        return Source(field=field, value=value)
    given = [key for key in _KEYS if value.get(key) is not None]
    if len(given) != 1 or len(value) > len(_KEYS):
        raise BadRequest(field, sorted(map(str, value)), f"an object with one of {' and '.join(_KEYS)}, or {ALLOWED}")
    inner = value[given[0]]
    if given[0] == "image_url" and isinstance(inner, Mapping):  # as in chat completions
        inner = inner.get("url")
    return Source(field=f"{field}.{given[0]}", value=inner)


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of the words, as a JSON body has them."""
    keys = {key: {"type": "string"} for key in _KEYS}
    keyed = {"type": "object", "properties": keys, "additionalProperties": False}
    one = {"anyOf": [PICTURE_SCHEMA, keyed]}
    described = "transparent where the image is to be painted anew, and as large as it"
    return {
        "image": {**one, "description": "the picture to start from, or a list of one; image[] in a form"},
        "images": {"type": "array", "items": one, "maxItems": 1, "description": "the same as OpenAI's JSON has it"},
        "mask": {**one, "description": f"a picture that is {described}; none: the image's own transparency"},
    }
