"""A file under its final name: whole or not at all, on disk, and never over another. Knows nothing of what is in it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def rename_to_free(temporary: Path, target: Path) -> None:
    """Give ``temporary`` the name ``target``, beside or instead of its own; ``FileExistsError`` if that is taken.

    A hard link is made only under a free name. Where the file system has none, an empty file reserves the name first;
    a crash between the two steps leaves that empty file.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        open(target, "xb").close()
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Put the folder's new entries on disk too. Not every system can; the files themselves are there by now."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
