"""The store in one SQLite file, for one process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from server.store import Compose, StoreUnusable
from server.store.sql.store import SqlStore
from server.store.sqlite.connection import connected


class SqliteStore(SqlStore):
    """A ``Store`` in an SQLite file, which is created, with its folder, if it is missing."""

    def __init__(self, path: Path, *, compose: Compose = lambda job, moment: ()) -> None:
        super().__init__(lambda: connected(path), compose=compose)
        self._path = path
        self._lock: IO[str] | None = None

    async def open(self) -> None:
        """Take the file over for this process alone. Raises ``StoreUnusable``."""
        self._lock = await asyncio.to_thread(_locked, self._path)
        try:
            await super().open()
        except BaseException:
            self._unlock()
            raise

    async def close(self) -> None:
        """Carry out the calls made so far, then release the file."""
        await super().close()
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def _locked(path: Path) -> IO[str]:
    """Return a lock that the operating system releases when the process ends, however that happens.

    It lies beside the file itself, not beside a link to it. Raises ``StoreUnusable`` if another process holds it.
    """
    try:
        file = path.resolve()
        lock_path = file.with_name(file.name + ".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("a+")
    except OSError as error:
        raise StoreUnusable(f"database: {path} cannot be created or written to ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        who = f" (process {holder})" if holder else ""
        raise StoreUnusable(
            f"database: {path} is in use by another server{who}; stop that one, or name another database"
        ) from None
    with contextlib.suppress(OSError):  # only for the message above; a full disk is reported elsewhere
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    return lock
