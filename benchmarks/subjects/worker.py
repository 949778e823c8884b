"""A subject in a process of its own: it starts bare, crashes alone, can be stopped, and shares no setting with others.

What is measured happens inside that process; only orders and findings travel.
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
_LINES = 3  # of a dead worker's last words


class WorkerFailed(Exception):
    """A worker could not do what it was told; the message says why."""


class WorkerLost(WorkerFailed):
    """Its process is gone as well."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    value: Any = None
    refused: str | None = None
    failed: str | None = None


class Worker:
    """``subject`` in its own process, which is started at once; it opens the subject first."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.open_seconds: float | None = None
        """How long opening took, once it has."""
        handle, name = tempfile.mkstemp(prefix="benchmark-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        nursery = context(subject.device)
        self._connection, theirs = nursery.Pipe()
        self._process = nursery.Process(target=_serve, args=(theirs, subject, name))
        self._process.start()
        theirs.close()

    def wait_open(self, seconds: float) -> None:
        """Wait until the subject is open. Raises ``NotHere`` and ``WorkerFailed``, after which the process is gone."""
        if self.open_seconds is None:
            self.open_seconds = self._receive(seconds, "opening")

    def call(self, job: Callable[[Subject], T], seconds: float) -> T:
        """``job(subject)`` in the process. Raises ``WorkerFailed`` also when it takes longer than ``seconds``."""
        try:
            self._connection.send(job)
        except OSError:
            raise WorkerLost(self._last_words("was gone before it was asked")) from None
        value: T = self._receive(seconds, "the measurement")
        return value

    def ask_to_end(self) -> None:
        """Tell the process to close its subject and end, and do not wait for it."""
        with suppress(OSError):
            self._connection.send(None)

    def close(self) -> None:
        """End the process, and whatever it started."""
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
        """The process and its children, which are a group of their own."""
        pid = self._process.pid
        if pid is not None:
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(10)


def _serve(connection: Connection, subject: Subject, log: str) -> None:
    """The worker's whole life: open, do what is asked, close."""
    os.setpgid(0, 0)
    _redirect(log)
    begin = time.perf_counter()
    try:
        subject.open()
    except NotHere as reason:
        connection.send(_Answer(refused=str(reason)))
        return
    except BaseException as error:
        connection.send(_Answer(failed=_told(error)))
        return
    connection.send(_Answer(value=time.perf_counter() - begin))
    with suppress(EOFError, OSError):  # whoever asked is gone
        while (job := connection.recv()) is not None:
            try:
                answer = _Answer(value=job(subject))
            except Exception as error:
                answer = _Answer(failed=_told(error))
            connection.send(answer)
    subject.close()


def _redirect(log: str) -> None:
    """What libraries print goes into a file, whose end is told if the process dies."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _told(error: BaseException) -> str:
    traceback.print_exception(error)
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0] if first else ''}"
