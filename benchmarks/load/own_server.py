"""Starts a server to put a load on, watches it and stops it. Knows no calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from server.settings import PREFIX

_LISTENING = re.compile(r"listening on (http://\S+)")
_TROUBLE = re.compile(r"^\S+Z (?:warning|error  |critical) (.*)", re.MULTILINE)
_PATIENCE = 180.0
"""Most seconds until it is ready; it imports torch and loads a checkpoint in that time."""
_SAMPLE_SECONDS = 0.25
_PROBES = 20


class NoServer(Exception):
    """The server did not start; the message holds the end of its log."""


@dataclass(eq=False, kw_only=True)
class OwnServer:
    """A server process with a database and a folder of its own."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    samples: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of calls done and bytes resident at that moment."""
    exit_status: int | None = None
    """Exit status once it has ended; 0 after an orderly shutdown."""

    @property
    def outputs(self) -> Path:
        """The folder of its pictures."""
        return self.folder / "outputs"

    @property
    def log(self) -> str:
        """Everything that it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has taken since its start."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    @property
    def inputs(self) -> Path:
        """The folder of the pictures that were handed in to it."""
        return self.folder / "inputs"

    async def watch(self, done: Callable[[], int]) -> None:
        """Note its memory four times a second until cancelled."""
        process = psutil.Process(self.process.pid)
        while True:
            self.samples.append((done(), process.memory_info().rss))
            await asyncio.sleep(_SAMPLE_SECONDS)

    def disk(self) -> dict[str, float]:
        """Measure how slow its disk is: median milliseconds of an fsync.

        ``commit`` is for a file that grew, as for each commit of a job's row; ``file`` is for a new file, as for each
        picture. A job waits for two commits and one file.
        """
        spent: dict[str, list[float]] = {"commit": [], "file": []}
        with (self.folder / "probe").open("wb") as grown:
            for number in range(_PROBES):
                path = self.folder / f"probe-{number}"
                with path.open("wb") as new:
                    for name, file in (("commit", grown), ("file", new)):
                        begin = time.perf_counter()
                        file.write(bytes(4096))
                        file.flush()
                        os.fsync(file.fileno())
                        spent[name].append(1000 * (time.perf_counter() - begin))
                path.unlink()
        return {name: statistics.median(each) for name, each in spent.items()}

    def trouble(self) -> list[str]:
        """Give what it logged as warnings and errors, without the warning that the backend makes no real pictures."""
        return [line for line in _TROUBLE.findall(self.log) if not line.startswith("backend instant")]


@contextlib.asynccontextmanager
async def own_server(
    flags: Sequence[str],
    *,
    checkout: Path | None = None,
    profile: Path | None = None,
    folder: Path | None = None,
) -> AsyncIterator[OwnServer]:
    """Start a server, wait until it is ready, and stop it at the end of the block. Raises ``NoServer``.

    ``flags`` are those of its command line; it ignores settings in the environment. ``checkout`` is the folder of
    another version of this project, whose server is started instead. ``profile`` is the file for what its event loop
    spent time on (for ``pstats``), which slows it down. ``folder`` is where its temporary folder is made.
    """
    if checkout is not None and not (checkout / "server" / "__main__.py").is_file():
        raise NoServer(f"{checkout} is not a checkout of this project: it has no server/__main__.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    if folder is not None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="load-", dir=folder) as name:
        home = Path(name)
        own = ["--port=0", f"--database={home / 'jobs.sqlite'}", f"--outputs={home / 'outputs'}"]
        if checkout is None:  # a server of an earlier version may refuse a setting that it does not know
            environment[f"{PREFIX}INPUTS"] = str(home / "inputs")
        profiler = [] if profile is None else ["-m", "cProfile", "-o", str(profile.resolve())]
        command = [sys.executable, *profiler, "-m", "server", *own, *flags]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=checkout)
        server = OwnServer(url="", process=process, folder=home)
        try:
            await _wait_ready(server)
            yield server
        finally:
            await asyncio.to_thread(_stop, server)


async def _wait_ready(server: OwnServer) -> None:
    deadline = time.monotonic() + _PATIENCE
    async with httpx.AsyncClient(trust_env=False) as http:
        while time.monotonic() < deadline and server.process.poll() is None:
            match = _LISTENING.search(server.log)
            if match:
                server.url = match[1]
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{server.url}/readyz")).status_code == 200:
                        return
            await asyncio.sleep(0.05)
    raise NoServer(f"the server did not start:\n{server.log[-2000:]}")


def _stop(server: OwnServer) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        server.exit_status = server.process.wait(60)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.exit_status = server.process.wait()
