"""Takes the pictures that a call hands in, in whatever form it has them, and keeps them until its job has them.

Knows no dialect; ``server.inputs`` stores the pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from fastapi import Request

from engine.workflow.sizes import PIXELS_PER_CELL, PictureSize
from server.dialects.shared.reader import Found, Reader
from server.dialects.shared.waiting import read_picture
from server.inputs.input import Input
from server.pictures.masks import transparency_mask
from server.problems import Problem, bad_request, problem_of, together
from server.web.services import Services

ALLOWED = "a picture: a data: URL, its file in base64, or the id of one that was handed in"

PICTURE_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1, "description": ALLOWED}
"""The JSON schema of a picture in a call."""

_SMALLEST_SIDE = 16
_OWN_FILE = re.compile(r"(?:(?:/replicate)?/v1/files|/api/v1/inputs)/([0-9a-f]{64})")
_OWN_OUTPUT = re.compile(r"/api/v1/images/([0-9A-Za-z-]+)\.[a-z]{3,4}(?:\?.*)?")


class CallPictures:
    """The pictures of one call. A call that ends with an error, while this is open, does not keep them.

    ``async with CallPictures(services, http) as pictures``: take them, and pass ``pictures.inputs`` on in ``NewJob``.
    """

    def __init__(self, services: Services, http: Request) -> None:
        self._services = services
        self._http = http
        self.inputs: dict[str, Input] = {}
        """The pictures by their ids, which the request names them by."""

    async def __aenter__(self) -> CallPictures:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            await self._services.inputs.forget_call(self.inputs.values())

    async def take(self, value: object, field: str) -> Input:
        """Keep a picture: the bytes of its file, or text as ``Inputs.keep_text`` takes it.

        The URL of one of this server's own pictures is never fetched, so it is always allowed. Raises ``Problem`` that
        names ``field``, also for an animated picture.
        """
        inputs, client = self._services.inputs, self._services.client_of(self._http)
        base_url = self._services.access.base_url(self._http)
        if isinstance(value, str) and value.startswith(f"{base_url}/"):
            value = await self._own(value.removeprefix(base_url), value)
        if isinstance(value, bytes):
            kept = await inputs.keep(value, client, field=field)
        elif isinstance(value, str):
            kept = await inputs.keep_text(value, client, field=field)
        else:
            raise bad_request(field, value, ALLOWED)
        if kept.id in self.inputs:
            await inputs.forget_call([kept])
            return self.inputs[kept.id]
        self.inputs[kept.id] = kept
        if kept.size.pictures > 1:
            raise bad_request(field, f"{kept.size.pictures} frames", "a picture that is not animated")
        return kept

    async def _own(self, path: str, url: str) -> str | bytes:
        """Return the id, or the bytes, of this server's picture at ``path``, or else the URL itself."""
        if match := _OWN_FILE.fullmatch(path):
            return match[1]
        if match := _OWN_OUTPUT.fullmatch(path):
            return await read_picture(self._services, f"{match[1]}.png")
        return url

    async def take_all(self, found: Found, reader: Reader) -> Found:
        """Return ``found`` with the ids of the pictures that ``image``, ``mask`` and ``controls`` hold.

        Raises ``Problem`` that names all pictures that are none, and the other values that ``reader`` refuses.
        """
        taken = dict(found)
        problems: list[Problem] = []
        for name in ("image", "mask"):
            word, value = found.get(name, ("", None))
            if value is not None:
                taken[name] = word, await self._id_of(value, word, problems)
        word, controls = found.get("controls", ("", None))
        if isinstance(controls, list | tuple):
            places = ((control, f"{word}[{place}]") for place, control in enumerate(controls))
            taken["controls"] = word, [await self._control(*each, problems) for each in places]
        if problems:
            named = {problem.field for problem in problems}
            others = [error for error in reader.mistakes(found) if error.field not in named]
            raise together([*problems, *map(problem_of, others)])
        return taken

    async def _control(self, control: object, place: str, problems: list[Problem]) -> object:
        if not isinstance(control, Mapping) or "image" not in control:
            return control
        return {**control, "image": await self._id_of(control["image"], f"{place}.image", problems)}

    async def _id_of(self, value: object, field: str, problems: list[Problem]) -> str:
        """Keep a picture and return its id; note in ``problems`` why it is none."""
        try:
            return (await self.take(value, field)).id
        except Problem as problem:
            if not problem.mistakes:  # the caller is not at fault, or may not hand in more
                raise
            problems.append(problem)
            return ""

    async def mask_of(self, picture: Input, field: str) -> Input | None:
        """Keep a mask that is bright where ``picture`` is transparent; None where it is opaque all over."""
        mask = await transparency_mask(await self._services.inputs.read(picture))
        return None if mask is None else await self.take(mask, field)


def fitting_size(size: PictureSize, most_pixels: int) -> tuple[int, int]:
    """Return the width and height of a new picture in the shape of a given one: its own size, in multiples of 8.

    A picture of more than ``most_pixels`` gives a smaller size of the same shape.
    """
    scale = min(1.0, math.sqrt(most_pixels / (size.width * size.height)))
    width, height = (
        max(_SMALLEST_SIDE, int(side * scale) // PIXELS_PER_CELL * PIXELS_PER_CELL)
        for side in (size.width, size.height)
    )
    return width, height
