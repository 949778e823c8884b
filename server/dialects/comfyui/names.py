"""The names by which clients know pictures: a prefix of the caller's choice, and the part that cannot be guessed.

Knows no storage: ``file_of`` finds the name of a picture's file in the name that a client has for it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from engine import BadRequest
from server.dialects.comfyui.graph import Nodes
from server.job import Picture

PREVIEWS = "ComfyUI_temp"
"""The prefix of pictures that are only shown."""

_FILE = re.compile(r"(?:.*_)?([0-9a-f]{32}-[0-9]+-[0-9]+)(?:_)?\.png", re.DOTALL)
_VARIABLE = re.compile(r"%([^%]+)%")
_DATE_PARTS = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyyy|yy")
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_NOT_IN_VALUES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_LONGEST = 200

_CLOCK: Mapping[str, Callable[[datetime.datetime], str]] = {
    "d": lambda now: str(now.day),
    "M": lambda now: str(now.month),
    "h": lambda now: str(now.hour),
    "m": lambda now: str(now.minute),
    "s": lambda now: str(now.second),
}
_MOMENTS = {"year": "yyyy", "month": "MM", "day": "dd", "hour": "hh", "minute": "mm", "second": "ss"}


def resolved(prefix: str, nodes: Nodes, now: datetime.datetime) -> str:
    """Return a ``filename_prefix`` with what is known when its prompt is accepted.

    ``%date:yyyy-MM-dd%``, ``%year%`` … ``%second%`` and ``%NODE.INPUT%``, a node's title or class and one of its
    inputs; what else has percent signs stays. Raises ``BadRequest`` for a prefix that leads out of the outputs' folder,
    and for one of more than 200 characters.
    """

    def value(match: re.Match[str]) -> str:
        name: str = match[1]
        if name in _MOMENTS:
            return _dated(_MOMENTS[name], now)
        if name.startswith("date:"):
            return _dated(name.removeprefix("date:"), now)
        title, point, input = name.rpartition(".")
        found = _input_of(nodes, title, input) if point else None
        return str(match[0]) if found is None else _NOT_IN_VALUES.sub("_", str(found))

    text = _VARIABLE.sub(value, prefix).replace("\\", "/")
    if len(text) > _LONGEST:
        raise BadRequest("prefix", prefix, f"at most {_LONGEST} characters")
    if text.startswith("/") or ".." in text.split("/"):
        raise BadRequest("prefix", prefix, "a name, or folders and a name, within the folder of the outputs")
    return _NOT_IN_NAMES.sub("_", text)


def name_of(picture: Picture, prefix: str | None) -> tuple[str, str]:
    """Return a picture's file name and subfolder. ``prefix`` is a ``resolved`` one; older jobs have none."""
    if prefix is None:
        return picture.name, ""
    of_picture = {"%width%": picture.width, "%height%": picture.height, "%batch_num%": picture.index}
    for name, value in of_picture.items():
        prefix = prefix.replace(name, str(value))
    folder, _, start = prefix.rpartition("/")
    unguessable = picture.name.removesuffix(".png")
    return f"{start}_{unguessable}_.png", "/".join(part for part in folder.split("/") if part not in ("", "."))


def file_of(filename: str) -> str | None:
    """Return the name of the file of the picture that clients call ``filename``; None for another name."""
    match = _FILE.fullmatch(filename)
    return f"{match[1]}.png" if match else None


def _dated(form: str, now: datetime.datetime) -> str:
    def part(match: re.Match[str]) -> str:
        letters: str = match[0]
        if letters[0] == "y":
            return f"{now.year:04}"[-len(letters) :]
        return _CLOCK[letters[0]](now).rjust(len(letters), "0")

    return _DATE_PARTS.sub(part, form)


def _input_of(nodes: Nodes, title: str, name: str) -> Any:
    """Return an input's plain value of the first node that has the title, or else the class, ``title``."""
    for called in (_title, lambda node: node["class_type"]):
        for node in nodes.values():
            value = node.get("inputs", {}).get(name)
            if called(node) == title and value is not None and not isinstance(value, list | dict):
                return value
    return None


def _title(node: Mapping[str, Any]) -> object:
    meta = node.get("_meta")
    return meta.get("title") if isinstance(meta, dict) else None
