"""Reads forms (multipart bodies): texts and files by name, with brackets in the names read as lists and objects.

``loras[][name]`` and ``loras[0][name]`` are the two ways in which clients write ``loras: [{name: …}]`` into a form.
Knows no dialect and no parameter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from fastapi import Request
from python_multipart.multipart import parse_options_header

from server.problems import bad_request

_MOST_PARTS = 200
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\]){0,4})")
_KEYS = re.compile(r"\[([^\[\]]*)\]")

Part: TypeAlias = tuple[tuple[str, ...], str | bytes]
"""What stands in the brackets of a part's name, and its text, or its file's bytes."""


def is_form(http: Request) -> bool:
    """Return whether the body is a multipart form."""
    return http.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def form_values(http: Request, *, most_bytes: int) -> dict[str, object]:
    """Read a form: texts as ``str``, files as ``bytes``, lists and objects of them, each by its name.

    A name that comes several times is a list. ``most_bytes`` is the limit of one text. Raises ``Problem`` (400) for a
    form that cannot be read or that breaks off, and for names that do not go together.
    """
    await ensure_whole(http)
    async with http.form(max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=most_bytes) as form:
        parts: dict[str, list[Part]] = {}
        for name, part in form.multi_items():
            value = part if isinstance(part, str) else await part.read()
            if (
                isinstance(part, str) or part.filename or value
            ):  # browsers send a file that is not chosen as an empty one
                match = _NAME.fullmatch(name)
                head, keys = (match[1], tuple(_KEYS.findall(match[2]))) if match else (name, ())
                parts.setdefault(head, []).append((keys, value))
    return {name: _joined(name, each) for name, each in parts.items()}


async def ensure_whole(http: Request) -> None:
    """Raise ``Problem`` for a form that ends before its last boundary: its last part would be passed over."""
    boundary = parse_options_header(http.headers.get("content-type", ""))[1].get(b"boundary")
    if boundary and b"--" + boundary + b"--" not in await http.body():
        raise bad_request("body", "a form that breaks off", "a form that ends with its boundary and --")


def _joined(name: str, parts: Sequence[Part]) -> object:
    """Return the value that the parts of one name make up."""
    firsts = {keys[0] if keys else None for keys, _ in parts}
    if firsts == {None}:
        return parts[0][1] if len(parts) == 1 else [value for _, value in parts]
    if None in firsts or ("" in firsts and len(firsts) > 1):
        raise bad_request(name, "a form with several kinds of names", f"either {name}, or {name}[] or {name}[key]")
    inner = {str(first): [(keys[1:], value) for keys, value in parts if keys[0] == first] for first in firsts}
    if "" in inner:
        return _listed(name, inner[""])
    if all(first.isascii() and first.isdigit() for first in inner):
        return [_joined(f"{name}[{first}]", inner[first]) for first in sorted(inner, key=int)]
    return {first: _joined(f"{name}.{first}", each) for first, each in inner.items()}


def _listed(name: str, parts: Sequence[Part]) -> list[object]:
    """Return the list that ``name[]`` stands for: of values, or of objects, whose keys come in the objects' order."""
    if not any(keys for keys, _ in parts):
        return [value for _, value in parts]
    columns: dict[str, list[str | bytes]] = {}
    for keys, value in parts:
        columns.setdefault("][".join(keys), []).append(value)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        shown = ", ".join(f"{len(column)} × {key}" for key, column in columns.items())
        raise bad_request(name, shown, f"as many of each, or JSON text in the one field {name}")
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
