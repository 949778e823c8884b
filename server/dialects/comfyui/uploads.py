"""The pictures that a client handed in, by the names that graphs have for them: ``photo.png``, ``sub/mask.png [temp]``.

Each client has names of its own. Knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine import BadRequest
from engine.formats.comfyui.places import place
from engine.formats.comfyui.table import ROWS
from engine.parameters import nearest
from server.dialects.comfyui.graph import Course
from server.dialects.comfyui.names import file_of
from server.inputs.input import Input
from server.web.services import Services

FOLDERS = ("input", "temp", "output")
"""Where pictures are said to lie."""

_ANNOTATION = re.compile(rf"(.*?)\s*\[({'|'.join(FOLDERS)})\]", re.DOTALL)
_LONGEST = 300


def split(name: str, folder: str = "input") -> tuple[str, str]:
    """Return the folder that a name like ``photo.png [temp]`` says, by default ``folder``, and the rest of it."""
    match = _ANNOTATION.fullmatch(name)
    return (match[2], match[1]) if match else (folder, name)


def path_of(name: str, subfolder: str = "") -> str | None:
    """Return a picture's path in its folder, with ``/``; None where it would lead out of that, or is none."""
    path = "/".join(part for part in (subfolder, name) if part).replace("\\", "/")
    clean = all(part not in ("", ".", "..") for part in path.split("/"))
    return path if clean and path.isprintable() and len(path) <= _LONGEST else None


async def names_of(services: Services, client: str) -> list[str]:
    """Return the names of a client's pictures in the folder ``input``, sorted."""
    uploads = await services.inputs.named(client)
    return sorted(key.removeprefix("input/") for key in uploads if key.startswith("input/"))


async def find(services: Services, client: str, folder: str, path: str, field: str) -> Input:
    """Return the picture at ``path`` of one of a client's folders: an upload, or a picture that a job made, or one that
    goes by its SHA-256.

    Raises ``BadRequest`` that names ``field`` where there is none, and ``Problem``.
    """
    uploads = await services.inputs.named(client)
    found = uploads.get(f"{folder}/{path_of(path)}")
    if found is not None:
        return found
    made = file_of(path.rpartition("/")[2])
    if folder == "input":
        found = (await services.inputs.find([path])).get(path)
    elif made is not None:
        try:
            found = await services.inputs.keep(await services.outputs.read(made), client, field=field)
        except KeyError:
            found = None
    if found is None:
        names = [key.removeprefix("input/") for key in uploads if key.startswith("input/")]
        raise BadRequest(field, path, f"the name of a picture that was handed in{_there(path, names)}")
    return found


async def of_course(services: Services, client: str, course: Course) -> tuple[dict[str, Input], list[BadRequest]]:
    """Return the pictures that a course loads, by their names in its graph, and the mistakes of those not there.

    Raises ``Problem``.
    """
    found: dict[str, Input] = {}
    missing: list[BadRequest] = []
    for where, name in _named_in(course):
        try:
            if name not in found:
                found[name] = await find(services, client, *split(name), field=where)
        except BadRequest as error:
            missing.append(error)
    return found, missing


def _named_in(course: Course) -> Iterator[tuple[str, str]]:
    """Yield the places in a graph that name pictures, with the names."""
    for id in course.order:
        node = course.nodes[id]
        row = ROWS.get(node["class_type"])
        for name, known in row.inputs.items() if row is not None else ():
            value = node.get("inputs", {}).get(name)
            if known.files == "input" and isinstance(value, str):
                yield place(id, node["class_type"], name), value


def free_name(taken: Mapping[str, Input], folder: str, path: str, new: Input) -> str:
    """Return ``path``, or ``name (1).png`` … where another picture has that name already; the same one keeps it."""
    stem, point, suffix = path.rpartition(".")
    number, free = 0, path
    while (there := taken.get(f"{folder}/{free}")) is not None and there.id != new.id:
        number += 1
        free = f"{stem} ({number}){point}{suffix}" if point else f"{path} ({number})"
    return free


def _there(path: str, names: list[str]) -> str:
    if not names:
        return "; there is none yet"
    near = nearest(path, names)
    return near if near.startswith(";") else f"; there are {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
