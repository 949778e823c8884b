"""The pictures that callers hand in, as the dialects see them: keep one, name it, read it. Lives on the event loop.

A picture's file is durable before its row is, and its row before a job with it is accepted. A row, and then its file,
goes once no job has it and nothing holds it. Knows no dialect and runs no job.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from engine import BadRequest
from server.inputs.fetching import fetched
from server.inputs.input import CALL, Hold, Input
from server.inputs.texts import bytes_of
from server.pictures.storage import NotWritten, PictureFiles
from server.problems import Problem, bad_request, not_found
from server.queue.refusals import storage_failed, stored
from server.settings import Settings
from server.store import InputGone, QuotaExceeded, Store
from server.webhooks.targets import Resolve, resolve

if TYPE_CHECKING:
    from engine.workflow.sizes import PictureSize

_log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{64}")
_CALL_SECONDS = 900.0
"""How long a picture waits for the job of the call that handed it in."""

_DECODING = 2
"""The pictures that are decoded at a time: each may take some hundred megabytes."""

_AT_ONCE = 200
_READ_PAUSES = (0.2, 1.0)
"""The seconds before each further attempt to read a picture."""

_FILE = re.compile(r"[0-9a-f]{16}-([0-9a-f]{64})-([0-9a-f]+)-[0-9a-f]{16}")
"""The name of a file: the store's identity, the input's id, the time at which it was written, a drawn number."""


class Inputs:
    """The pictures that were handed in, by the SHA-256 of their bytes."""

    def __init__(self, store: Store, settings: Settings, *, resolve: Resolve = resolve) -> None:
        self._store = store
        self._files = PictureFiles(settings.inputs)
        self._settings = settings
        self._resolve = resolve
        self._decoding = asyncio.Semaphore(_DECODING)

    async def keep(self, data: bytes, client: str, *, field: str, owner: str = CALL, name: str = "") -> Input:
        """Keep a picture's file, durable when this returns, and return it.

        By default it is held for the call's job: pass the input on in ``NewJob.inputs``. With an ``owner`` it is an
        upload that is kept, as that owner's ``name`` or its id, as long as finished jobs are.

        Raises ``Problem`` that names ``field``: 400 for what is no picture, or is larger than the settings allow; 413
        beyond the client's quota; 507, 503.
        """
        most = self._settings.max_input_bytes
        if len(data) > most:
            raise bad_request(field, f"{len(data)} bytes", f"a picture of at most {most} bytes (SD_MAX_INPUT_BYTES)")
        async with self._decoding:
            id, size = await asyncio.to_thread(self._checked, data, field)
        hold = self._hold(owner, name, id)
        try:
            return await stored(self._store.hold_input(id, hold))
        except InputGone:
            file = f"{await stored(self._store.identity())}-{id}-{int(time.time()):x}-{secrets.token_hex(8)}"
            return await self._add(Input(id=id, file=file, bytes=len(data), size=size, hold=hold), data, client)

    async def keep_text(self, text: str, client: str, *, field: str, owner: str = CALL, name: str = "") -> Input:
        """Keep a picture that comes as text: base64, a ``data:`` URL, the id of an input, or the URL of a picture.

        URLs are fetched only where SD_INPUT_URLS allows it. Raises what ``keep`` raises.
        """
        if _ID.fullmatch(text):
            try:
                return await stored(self._store.hold_input(text, self._hold(owner, name, text)))
            except InputGone:
                raise bad_request(field, text, "the id of a picture that was handed in and is still there") from None
        if text[:8].lower().startswith(("http://", "https://")):
            if not self._settings.input_urls:
                raise bad_request(field, text, "base64, a data: URL or an input's id; URLs are off (SD_INPUT_URLS)")
            private = self._settings.webhook_private_addresses
            most = self._settings.max_input_bytes
            data = await fetched(text, field, most_bytes=most, private=private, resolve=self._resolve)
        else:
            data = await asyncio.to_thread(bytes_of, text, field)
        return await self.keep(data, client, field=field, owner=owner, name=name)

    async def find(self, ids: Collection[str]) -> dict[str, Input]:
        """Return by id those of the inputs that are there. Raises ``Problem``: 503, 507."""
        wanted = [id for id in ids if _ID.fullmatch(id)]
        return await stored(self._store.inputs(wanted)) if wanted else {}

    async def name(self, input: Input, owner: str, name: str) -> None:
        """Let ``name`` stand for ``input`` among an owner's uploads, in place of what it stood for.

        Raises ``Problem``: 404 if the input has gone meanwhile, 503, 507.
        """
        try:
            await stored(self._store.hold_input(input.id, self._hold(owner, name, input.id)))
        except InputGone:
            raise not_found("input", input.id) from None

    async def named(self, owner: str) -> dict[str, Input]:
        """Return an owner's uploads by name, in the order of the names. Raises ``Problem``: 503, 507."""
        return await stored(self._store.held_inputs(owner))

    async def release(self, owner: str, name: str) -> bool:
        """End an owner's upload; the picture goes at once if nothing else needs it. False if there is none."""
        there = await stored(self._store.release_input(owner, name))
        await self.tidy()
        return there

    async def read(self, input: Input) -> bytes:
        """Return a picture's file. Raises ``Problem``: 404 if it has gone, 507 if the storage keeps failing."""
        for pause in (*_READ_PAUSES, None):
            try:
                return await self._files.read(input.file)
            except KeyError:
                raise not_found("input", input.id) from None
            except Exception as error:  # whatever the storage's library raises
                if pause is None:
                    raise storage_failed(error) from error
                await asyncio.sleep(pause)
        raise AssertionError

    async def read_all(self, inputs: Mapping[str, Input]) -> dict[str, bytes]:
        """Return the files of pictures by their names in a workflow. Raises what ``read`` raises."""
        files = {each.id: await self.read(each) for each in inputs.values()}
        return {name: files[each.id] for name, each in inputs.items()}

    async def forget_call(self, inputs: Iterable[Input]) -> None:
        """End the holds of a call that was refused, so that its pictures go."""
        for hold in [each.hold for each in inputs if each.hold is not None and each.hold.owner == CALL]:
            await self._store.release_input(hold.owner, hold.name)

    async def tidy(self) -> int:
        """Remove the pictures that nothing needs now; return how many. Raises ``StoreFailed``."""
        now, seconds = time.time(), self._settings.retention_seconds
        uploads_before = None if seconds is None else now - seconds
        removed = 0
        while True:
            unused = await self._store.take_unused_inputs(
                calls_before=now - _CALL_SECONDS, uploads_before=uploads_before, limit=_AT_ONCE
            )
            try:
                await self._files.remove([each.file for each in unused])
            except Exception as error:
                _log.error("pictures that were handed in could not be removed: %s", error)
            removed += len(unused)
            if len(unused) < _AT_ONCE:
                return removed

    async def remove_strays(self) -> None:
        """Remove files of this store that a crash left without a row; those of calls that may be under way stay."""
        before = time.time() - _CALL_SECONDS
        found = [_FILE.fullmatch(name) for name in await self._files.find(await self._store.identity())]
        old = [match for match in found if match is not None and int(match[2], 16) < before]
        rows = await self._store.inputs({match[1] for match in old})
        known = {each.file for each in rows.values()}
        await self._files.remove([match[0] for match in old if match[0] not in known])

    def _checked(self, data: bytes, field: str) -> tuple[str, PictureSize]:
        from engine.pictures.inputs import read_input

        try:
            size = read_input("", [{"": data}]).size
        except BadRequest as error:
            raise bad_request(field, "the picture", error.allowed) from None
        most = self._settings.max_input_pixels
        if size.pictures * size.width * size.height > most:
            shown = f"{size.width} × {size.height}" + (f", {size.pictures} frames" if size.pictures > 1 else "")
            raise bad_request(field, shown, f"a picture of at most {most} pixels (SD_MAX_INPUT_PIXELS)")
        return hashlib.sha256(data).hexdigest(), size

    def _hold(self, owner: str, name: str, id: str) -> Hold:
        """What keeps input ``id``: an owner's upload, or a call."""
        return Hold(owner=owner, name=secrets.token_hex(16) if owner == CALL else name or id, since=time.time())

    async def _add(self, new: Input, data: bytes, client: str) -> Input:
        """Add an input: its file first, so that there is no row without one."""
        try:
            await self._files.write(new.file, lambda: data)
        except NotWritten as error:
            raise storage_failed(error) from error
        kept = None
        try:
            kept = await stored(self._store.keep_input(new, client, quota=self._settings.input_quota))
        except QuotaExceeded:
            raise _over_quota(self._settings.input_quota) from None
        finally:
            if kept is None or kept.file != new.file:  # another call added the same bytes meanwhile
                await self._files.remove([new.file])
        return kept


def _over_quota(most: int | None) -> Problem:
    """429: as with a full queue, the client can come again once jobs and uploads of its own have gone."""
    return Problem(
        status=429,
        kind="quota_exceeded",
        title="Quota exceeded",
        detail=f"the pictures that this client handed in would have more than {most} bytes (SD_INPUT_QUOTA); "
        "delete jobs or inputs that are done with",
        headers={"Retry-After": "60"},
    )
