"""Bytes → a file under the next free number of a folder: whole or not at all, and never over another.

Knows that other threads and processes write to the same folder; does not know what is in the bytes.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from engine.errors import BadRequest
from engine.files import rename_to_free, sync_folder

_FIELD = "out"
_LONGEST_STEM = 150
"""Bytes, of the 255 that file systems allow a name."""


def write_png(folder: Path | str, stem: str, data: bytes) -> Path:
    """Write ``data`` to ``<folder>/<stem>_00001_.png``, or the number after the highest there, and return the path.

    The folder is created if it is missing. The file appears whole, on disk, and under a name that nothing had: several
    threads and processes may write at once. In ``stem``, whatever is not fit for a file's name becomes "_".
    Raises ``BadRequest`` on ``out`` if the folder cannot be created or written to; nothing is left behind then.
    """
    folder = Path(folder)
    stem = _safe(stem)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{secrets.token_hex(8)}.part"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            target = _placed(temporary, folder, stem)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(folder)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    return target


def writable_folder(folder: Path | str) -> Path:
    """Return ``folder``, created if it was missing, after a file could be written there.

    Raises ``BadRequest`` on ``out`` otherwise: worth knowing before minutes are spent on a picture.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(8)}.part"
        try:
            open(probe, "xb").close()
        finally:
            probe.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    return folder


def _unwritable(folder: Path, error: Exception) -> BadRequest:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return BadRequest(_FIELD, str(folder), f"a folder that can be written to ({reason})")


def _safe(stem: str) -> str:
    """``stem`` as a file's name: letters, digits and some signs, no dots or spaces at its ends, not too long."""
    named = re.sub(r"[^\w .,()+=@-]", "_", stem).strip(" .")
    return named.encode()[:_LONGEST_STEM].decode(errors="ignore") or "picture"


def _placed(temporary: Path, folder: Path, stem: str) -> Path:
    """Give the file its name: the first free one from the number after the highest."""
    numbered = re.compile(re.escape(stem) + r"_(\d{1,18})_\.png")
    with os.scandir(folder) as entries:
        taken = [int(match[1]) for entry in entries if (match := numbered.fullmatch(entry.name))]
    number = max(taken, default=0) + 1
    while True:
        target = folder / f"{stem}_{number:05}_.png"
        try:
            rename_to_free(temporary, target)
        except FileExistsError:
            number += 1
        else:
            return target
