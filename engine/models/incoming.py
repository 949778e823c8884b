"""A weights file on its way into a models folder: a ``.part`` file, which gets its final name whole or never.

Knows of other processes that bring the same file, and what a file's name may be; not where the bytes come from.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import BadRequest
from engine.files import rename_to_free, sync_folder
from engine.models.layouts import SUFFIXES
from engine.tensors.header import LONGEST_HEADER, PICKLE_SUFFIXES
from engine.tensors.kinds import FileKind

Note = Callable[[str], None]
"""Called with a line that a person may want to read meanwhile."""

_LONGEST_NAME = 200
"""Bytes, of the 255 that file systems allow; ``.part.json`` is added to it."""


class AlreadyThere(BadRequest):
    """A file of this name is in the folder; it is never written over."""

    def __init__(self, target: Path) -> None:
        super().__init__("name", target.name, f"a name that is free in {target.parent}, where this one is taken")
        self.path = target


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a ``.part`` file is a part of: enough to know, in another run, whether the rest still fits."""

    url_digest: str
    """SHA-256 of the URL, which itself may hold a secret."""
    validator: str | None
    """The strong ETag, or else the date, that stands for this state of the resource."""
    total: int | None
    """Bytes of the whole file."""


class PartFile:
    """The locked ``.part`` file of ``target``; bytes are appended to it."""

    def __init__(self, target: Path, path: Path, descriptor: int) -> None:
        self.target = target
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self.origin = _read_origin(path)
        self.pieced = self.size > 0
        """Whether the bytes are of more than one response."""
        self._descriptor = descriptor

    def start_over(self, origin: Origin | None = None) -> None:
        """Forget what came before; what comes next is of ``origin``."""
        os.ftruncate(self._descriptor, 0)
        self.size, self.origin, self.pieced = 0, origin, False
        _origin_path(self.path).unlink(missing_ok=True)
        if origin is not None:
            _origin_path(self.path).write_text(json.dumps(asdict(origin)))

    def append(self, data: bytes) -> None:
        """Write at the end. Raises ``OSError``, for instance when the disk is full."""
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self.size += written
            rest = rest[written:]

    def lacks_room_for(self, more: int) -> bool:
        """Return whether the disk has less than ``more`` bytes left."""
        return shutil.disk_usage(self.path.parent).free < more

    def check(self) -> FileKind:
        """Return what kind of file came. Raises ``BrokenCheckpoint`` if it is of none that the engine works with."""
        from engine.models.inspecting import inspect_file

        with tempfile.TemporaryDirectory() as folder:
            named = Path(folder) / self.target.name  # what may be in a file depends on its suffix, .part is none
            named.symlink_to(self.path.absolute())
            return inspect_file(named).kind

    def install(self, target: Path) -> None:
        """Give the file its final name, on the disk too. Raises ``AlreadyThere``, never writes over another file."""
        os.fsync(self._descriptor)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename_to_free(self.path, target)
        except FileExistsError:
            self.discard()
            raise AlreadyThere(target) from None
        self.discard()
        sync_folder(target.parent)

    def discard(self) -> None:
        """Remove the ``.part`` file and what is noted of it."""
        _origin_path(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def part_file(target: Path, note: Note) -> Iterator[PartFile]:
    """The ``.part`` file beside ``target``, with what an earlier run left in it, for this process and thread alone.

    Waits for another that brings the same file. Raises ``AlreadyThere``, and ``BadRequest`` on ``models`` if the
    folder cannot be written to.
    """
    path = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, note)
    except OSError as error:
        raise BadRequest("models", str(target.parent), f"a folder that can be written to ({error.strerror})") from None
    try:
        if os.path.lexists(target):
            raise AlreadyThere(target)
        yield PartFile(target, path, descriptor)
    finally:
        if os.fstat(descriptor).st_size == 0 and _is_named(descriptor, path):
            path.unlink()
        os.close(descriptor)


def checked_name(name: str) -> str:
    """Return ``name`` as it is. Raises ``BadRequest`` if it is not fit for a file in the models folder."""
    if name != safe_name(name):
        raise BadRequest(
            "name", name, f"a file's name of letters, digits and ' .,()+=@_-' that ends in {' or '.join(SUFFIXES)}"
        )
    return name


def safe_name(name: str) -> str | None:
    """Return a foreign name made fit for the models folder: no folders, no odd characters. None if it is no
    checkpoint's."""
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    stem, suffix = os.path.splitext(re.sub(r"[^\w .,()+=@-]", "_", last).strip(" ."))
    stem = stem.encode(errors="ignore")[:_LONGEST_NAME].decode(errors="ignore")
    return stem + suffix.lower() if stem and suffix.lower() in SUFFIXES else None


def what_else(head: bytes, suffix: str) -> str | None:
    """Return what a file that begins with ``head`` is, in words, if it is no checkpoint's beginning."""
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return None
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return None if suffix in PICKLE_SUFFIXES else "it is a PyTorch pickle, to be named ….ckpt, or a zip archive"
    if head.lstrip().startswith(b"<"):
        return "it is a web page, not a checkpoint; open it in a browser: it may want a login or hold a download link"
    return f"it is no checkpoint (first bytes: {head[:24]!r})" if head else "it is empty"


def _locked(path: Path, note: Note) -> int:
    """A descriptor of the file ``path``, locked, and sure to be the file that has this name."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"another process is bringing {path.stem}; waiting for it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_named(descriptor, path):
                if os.fstat(descriptor).st_nlink == 1:
                    return descriptor
                path.unlink()  # a crash in ``install`` left it as a second name of a whole file, not to be written to
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _origin_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_origin(part: Path) -> Origin | None:
    try:
        return Origin(**json.loads(_origin_path(part).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
