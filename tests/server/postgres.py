"""A PostgreSQL server for tests, with Debian's programs, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

_SETTINGS = {"fsync": "off", "max_connections": "60", "unix_socket_directories": ""}
"""What makes a server for tests start and commit fast; a commit is not on disk."""


def programs() -> Path | None:
    """Return the folder with ``initdb`` and ``pg_ctl``, or None if PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A PostgreSQL server that a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        """Create its files below ``folder``, which its user must be able to enter."""
        self._data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            shutil.chown(folder, "postgres")
        self._run("initdb", "--auth=trust", "--username=sd", "--encoding=UTF8", "--no-sync", "--pgdata", self._data)

    def start(self) -> None:
        """Start it, and wait until it can be reached."""
        settings = " ".join(f"-c {name}={value!r}" for name, value in _SETTINGS.items())
        options = f"-h 127.0.0.1 -p {self.port} {settings}"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self._data / "log", "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it, as after a crash if ``mode`` is not ``fast``."""
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", mode)

    def database(self) -> str:
        """Create an empty database, and return its URL."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://sd@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        folder = programs()
        assert folder is not None
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run([*as_user, folder / program, *arguments], check=True, capture_output=True, cwd="/", timeout=60)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
