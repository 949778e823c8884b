"""Keeps the pictures that a call hands in. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from server.dialects.sdapi.body import Generation, Img2Img
from server.dialects.sdapi.controlnet import Unit, mask_in, picture_in, unit_of, units_in
from server.dialects.sdapi.plan import HandedIn
from server.inputs.input import Input
from server.problems import bad_request
from server.web.services import Services


class HandingIn:
    """The pictures of one call, which are held until its job has them, or let go if it is refused."""

    def __init__(self, services: Services, client: str) -> None:
        self._services = services
        self._client = client
        self._kept: list[Input] = []

    async def keep(self, text: str, field: str) -> Input:
        """Keep a picture. Raises ``Problem`` that names ``field``."""
        input = await self._services.inputs.keep_text(text, self._client, field=field)
        self._kept.append(input)
        return input

    async def let_go(self) -> None:
        """Let all of them go that no job has."""
        await self._services.inputs.forget_call(self._kept)

    async def of_call(self, body: Generation) -> HandedIn:
        """Keep what ``body`` has. Raises ``Problem`` that names the field."""
        images: Sequence[str] = ()
        mask, file = None, b""
        if isinstance(body, Img2Img):
            images = _images(body)
            if body.mask:
                mask = await self.keep(body.mask, "mask")
                file = await self._services.inputs.read(mask) if body.inpaint_full_res is not False else b""
        kept = [await self.keep(image, f"init_images[{number}]") for number, image in enumerate(images)]
        return HandedIn(images=tuple(kept), mask=mask, mask_file=file, units=await self._units(body))

    async def _units(self, body: Generation) -> tuple[Unit, ...]:
        units = units_in(body.alwayson_scripts)
        files = await asyncio.to_thread(self._services.backend.files, "controlnet") if units else []
        made = []
        for place, unit in units:
            image, mask = picture_in(unit, place), mask_in(unit, place)
            if image.text is None and not isinstance(body, Img2Img):
                raise bad_request(image.field, None, "a picture, which the network follows")
            unit_of(unit, place, None, files)  # refused before its pictures are kept
            kept = [None if each.text is None else await self.keep(each.text, each.field) for each in (image, mask)]
            made.append(unit_of(unit, place, kept[0], files, kept[1]))
        return tuple(made)


def _images(body: Img2Img) -> list[str]:
    """Return the pictures to start from. Raises ``Problem`` for none, and for more than a batch has."""
    images, most = body.init_images or [], body.batch_size or 1
    if not images:
        raise bad_request("init_images", images, "at least one picture")
    if len(images) > max(1, most):
        raise bad_request("init_images", f"{len(images)} pictures", f"one, or at most {most}, the batch_size")
    return images
