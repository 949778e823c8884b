"""Stores pictures, those that jobs made and those handed in: in a folder by default, or through fsspec at a URL.

A picture is there whole or not at all. Only a power cut can leave a part of one that was being written; no answer has
named it yet, and ``housekeeping`` removes it. Knows names and bytes, no jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import fsspec

from engine.files import sync_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}(\.[a-z]{1,9})?")
_PART = ".part"
_PROBE_SECONDS = 2.0


class NotWritten(OSError):
    """The storage refused a picture. Its text, which callers may see, names no place."""


class NotRead(OSError):
    """The storage did not give a picture that may be there. Its text, which callers may see, names no place."""


class PictureFiles:
    """Pictures by name. Never blocks the event loop."""

    def __init__(self, url: str) -> None:
        """Store pictures in ``url``: a folder, which is created with the first picture, or a URL that fsspec knows."""
        self._files, self._root = fsspec.core.url_to_fs(url)
        protocol = self._files.protocol
        self.local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
        """Whether pictures are files of this machine."""
        self._probing = asyncio.Lock()
        self._probed: tuple[float, bool] | None = None
        """The time of the last trial to write, and whether it worked."""

    async def read(self, name: str) -> bytes:
        """Return a picture's bytes. Raises ``KeyError`` if there is no picture of that name, and ``NotRead``."""
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        return await asyncio.to_thread(self._read, name)

    async def exists(self, name: str) -> bool:
        """Say whether there is a picture of that name."""
        return bool(_NAME.fullmatch(name)) and await asyncio.to_thread(self._files.isfile, self._place(name))

    async def write(self, name: str, make: Callable[[], bytes]) -> None:
        """Write what ``make`` returns, whole, in place of any picture of that name; if that fails, none has the name.

        ``make`` is called off the event loop. The picture is durable when this returns. Raises ``NotWritten`` and what
        ``make`` raises.
        """
        assert _NAME.fullmatch(name), name
        await asyncio.to_thread(self._make_and_write, name, make)

    async def remove(self, names: Collection[str]) -> None:
        """Remove pictures; names that are not there are ignored. Raises what the storage's library raises."""
        if names:
            await asyncio.to_thread(self._remove, list(names))

    async def find(self, prefix: str) -> list[str]:
        """Return the names that start with ``prefix``, including those of pictures whose writing was cut off."""
        return await asyncio.to_thread(self._find, prefix)

    def path(self, name: str) -> Path | None:
        """Return a picture's file, or None if pictures are not files of this machine or the name is not valid."""
        return Path(self._root, name) if self.local and _NAME.fullmatch(name) else None

    async def writable(self) -> bool:
        """Return whether pictures can be written, which is tried again every two seconds at most."""
        async with self._probing:
            now = time.monotonic()
            if self._probed is None or now - self._probed[0] > _PROBE_SECONDS:
                self._probed = now, await asyncio.to_thread(self._writable)
            return self._probed[1]

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _read(self, name: str) -> bytes:
        try:
            data: bytes = self._files.cat_file(self._place(name))
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(name) from None
        except Exception as error:  # whatever the storage's library raises
            raise NotRead(f"the picture {name} cannot be read ({_reason(error)})") from error
        return data

    def _make_and_write(self, name: str, make: Callable[[], bytes]) -> None:
        data = make()  # on this thread, so that it needs none of its own
        try:
            self._write(name, data)
        except Exception as error:  # whatever the storage's library raises
            raise NotWritten(_reason(error)) from error

    def _write(self, name: str, data: bytes) -> None:
        if not self.local:
            self._files.pipe_file(self._place(name), data)  # object storage shows an object when it is whole
            return
        final = self._place(name)
        part = final + _PART
        try:
            file = self._created(part)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file, left) :]
                os.replace(part, final)
                os.fsync(file)  # file systems with a journal put the name on disk with it
            finally:
                os.close(file)
            sync_folder(Path(self._root))
        except BaseException:
            for path in (part, final):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise

    def _created(self, place: str) -> int:
        """Open an empty file in few calls, since each of them releases the interpreter and waits for it again."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            return os.open(place, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(self._root, exist_ok=True)
            return os.open(place, flags, 0o666)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            for each in (name, name + _PART) if self.local else (name,):
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._place(each))

    def _find(self, prefix: str) -> list[str]:
        try:
            if self.local:
                with os.scandir(self._root) as entries:
                    there = [entry.name for entry in entries]
            else:
                there = [path.rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []
        names = {name.removesuffix(_PART) for name in there}
        return sorted(name for name in names if name.startswith(prefix) and _NAME.fullmatch(name))

    def _writable(self) -> bool:
        name = f"probe{os.getpid()}"
        try:
            self._write(name, b"")
            self._remove([name])
        except Exception:
            return False
        return True


def _reason(error: Exception) -> str:
    """Return why the storage failed, without the place, which an error's own text has."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
