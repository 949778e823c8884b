"""A real server process that a test may kill, and clients that put it under load and remember the answers."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0


class ServerProcess:
    """Runs ``command`` with a port, a database and a folder of its own, which stay the same over restarts until
    ``with`` ends."""

    def __init__(self, command: list[str], folder: Path, **flags: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        own = {"port": str(self.port), "database": str(folder / "jobs.sqlite"), "outputs": str(folder / "outputs")}
        own |= {"inputs": str(folder / "inputs")}
        self._command = command + [f"--{name.replace('_', '-')}={value}" for name, value in (own | flags).items()]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        """Start the server; return when it would start a job at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self._log.read_text()[-3000:]}")

    def kill(self) -> None:
        """Kill the process, as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stop the process as an operator does; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def get(self, path: str) -> Any:
        answer = httpx.get(self.url + path, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def settle(self) -> None:
        """Wait until nothing is queued or running."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            counts = self.get("/api/v1/status")["counts"]
            if not counts["queued"] and not counts["running"]:
                return
            time.sleep(0.05)
        raise AssertionError(f"jobs do not end: {counts}")


@dataclass
class Load:
    """Clients that ask for pictures, one call after the other, whatever happens to the server."""

    server: ServerProcess
    body: dict[str, Any]
    pause: float = 0.0
    images: Sequence[str] = ()
    """Pictures in base64, one of which every second call starts from."""
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By job id: the body of each call that was answered with 200 or 202."""
    keys: dict[str, set[str]] = field(default_factory=dict)
    """By idempotency key: the ids of the jobs that it gave."""
    refusals: list[str] = field(default_factory=list)
    """Answers that no client should get."""

    @contextlib.contextmanager
    def going(self, clients: int) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._call_on, args=(stop, n), daemon=True) for n in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)

    def _call_on(self, stop: threading.Event, client: int) -> None:
        choose = random.Random(client)
        with httpx.Client(base_url=self.server.url, timeout=PATIENCE) as http:
            for number in itertools.count():
                if stop.wait(self.pause):
                    return
                body = self.body | {"seed": choose.randrange(2**64), "prompt": f"client {client} call {number}"}
                body |= choose.choice([{"async": True}, {"async": True}, {}])
                if self.images and choose.random() < 0.5:
                    body |= {"image": choose.choice(self.images), "denoise": 0.5}
                key = f"{client}-{number}" if choose.random() < 0.5 else None
                while not self._call(http, body, key) and key is not None and not stop.is_set():
                    stop.wait(0.02)  # a client with a key asks again until there is an answer

    def _call(self, http: httpx.Client, body: dict[str, Any], key: str | None) -> bool:
        try:
            answer = http.post("/api/v1/generate", json=body, headers={"Idempotency-Key": key} if key else {})
        except httpx.HTTPError:
            return False
        if answer.status_code in (200, 202):
            id = answer.json()["job_id"]
            self.accepted[id] = body
            if key is not None:
                self.keys.setdefault(key, set()).add(id)
        elif answer.status_code not in (429, 503):
            self.refusals.append(answer.text)
        return True


def instant(step_seconds: float) -> list[str]:
    return [sys.executable, str(ROOT / "tests/server/slow_server.py"), str(step_seconds), "--backend=instant"]


def engine() -> list[str]:
    return [sys.executable, "-m", "server"]
