"""Runs a subject in a process of its own, where it starts bare, crashes alone, can be stopped and shares no settings.

Measurements run inside that process; only functions to call and their results are sent between the two.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.subjects.processes import context
from benchmarks.subjects.subject import NotHere, Subject

T = TypeVar("T")
_LINES = 3  # of the log of a worker that died


class WorkerFailed(Exception):
    """A call in a worker failed; the message says why."""


class WorkerLost(WorkerFailed):
    """The worker's process is gone as well."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    value: Any = None
    refused: str | None = None
    failed: str | None = None


class Worker:
    """Runs ``subject`` in its own process, which is started at once and first opens the subject."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.open_seconds: float | None = None
        """Seconds that opening the subject took; None while it is not open."""
        handle, name = tempfile.mkstemp(prefix="benchmark-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        processes = context(subject.device)
        self._connection, theirs = processes.Pipe()
        self._process = processes.Process(target=_serve, args=(theirs, subject, name))
        self._process.start()
        theirs.close()

    def wait_open(self, seconds: float) -> None:
        """Wait until the subject is open. Raises ``NotHere`` or ``WorkerFailed``; the process is gone then."""
        if self.open_seconds is None:
            self.open_seconds = self._receive(seconds, "opening")

    def call(self, job: Callable[[Subject], T], seconds: float) -> T:
        """Call ``job(subject)`` in the process and return its value.

        Raises ``WorkerFailed`` if it fails, and ``WorkerLost`` if it takes longer than ``seconds`` or the process dies.
        """
        try:
            self._connection.send(job)
        except OSError:
            raise WorkerLost(self._last_words("was gone before the call")) from None
        value: T = self._receive(seconds, "the measurement")
        return value

    def ask_to_end(self) -> None:
        """Ask the process to close its subject and end, without waiting for it."""
        with suppress(OSError):
            self._connection.send(None)

    def close(self) -> None:
        """End the process and every process that it started."""
        self.ask_to_end()
        self._process.join(3)
        self._kill()
        self._log.unlink(missing_ok=True)

    def _receive(self, seconds: float, what: str) -> Any:
        if not self._connection.poll(max(seconds, 0)):
            self._kill()
            raise WorkerLost(f"{what} took longer than {seconds:.0f} s")
        try:
            answer: _Answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(10)
            raise WorkerLost(self._last_words(f"died (exit status {self._process.exitcode})")) from None
        if answer.refused is not None:
            raise NotHere(answer.refused)
        if answer.failed is not None:
            raise WorkerFailed(answer.failed)
        return answer.value

    def _last_words(self, what: str) -> str:
        with suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()[-_LINES:]
            return f"its process {what}: {' | '.join(lines)}" if lines else f"its process {what}"
        return f"its process {what}"

    def _kill(self) -> None:
        """Kill the process and its children, which form a process group."""
        pid = self._process.pid
        if pid is not None:
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(10)


def _serve(connection: Connection, subject: Subject, log: str) -> None:
    """Run in the worker's process: open the subject, carry calls out, close it."""
    os.setpgid(0, 0)
    _redirect(log)
    begin = time.perf_counter()
    try:
        subject.open()
    except NotHere as reason:
        connection.send(_Answer(refused=str(reason)))
        return
    except BaseException as error:
        connection.send(_Answer(failed=_described(error)))
        return
    connection.send(_Answer(value=time.perf_counter() - begin))
    with suppress(EOFError, OSError):  # the other process is gone
        while (job := connection.recv()) is not None:
            try:
                answer = _Answer(value=job(subject))
            except Exception as error:
                answer = _Answer(failed=_described(error))
            connection.send(answer)
    subject.close()


def _redirect(log: str) -> None:
    """Send what libraries print into the file ``log``, whose end is quoted if the process dies."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _described(error: BaseException) -> str:
    traceback.print_exception(error)
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0] if first else ''}"
