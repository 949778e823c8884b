"""Another version of this project's engine as a subject, from a checkout of its own: is an upgrade faster?"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from benchmarks.subjects.subject import Delivery, GivenUp, NotHere
from engine import GenerationRequest

_PROCESS = Path(__file__).with_name("earlier_process.py")
_PARAMETERS = (
    *("prompt", "negative_prompt", "width", "height", "steps", "cfg_scale"),
    *("sampler", "scheduler", "seed"),
)
"""What the suite varies; every version of ``GenerationRequest`` has these."""


@dataclass(kw_only=True)
class EarlierEngineSubject:
    """Runs the engine of another checkout in a process of its own and passes requests and pictures on."""

    name: str
    checkpoint: Path
    device: str
    dtype: str
    folder: Path
    """The checkout, whose root holds ``engine/``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of its ``EngineConfig``."""
    concurrent: bool = True
    includes: str = "prompt encoding, sampling, VAE; to an array on the CPU, sent to another process"

    def absent(self) -> str | None:
        there = (self.folder / "engine" / "__init__.py").is_file()
        return None if there else f"{self.folder} is not a checkout of this project: it has no engine/__init__.py"

    def open(self) -> None:
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {0: Future()}
        self._shapes = 0
        self._record: Mapping[str, Any] = {}
        self._connection, theirs = Pipe()
        command = [sys.executable, str(_PROCESS), str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=self.folder, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        settings = {"checkpoint": self.checkpoint.resolve(), "device": self.device, "dtype": self.dtype}
        opened = self._waiting[0]
        self._connection.send(settings | dict(self.settings))
        threading.Thread(target=self._receive, daemon=True).start()
        try:
            opened.result()
        except ConnectionError as error:
            raise NotHere(str(error)) from None

    def paint(self, request: GenerationRequest) -> Delivery:
        answer = self._ask("make", {name: getattr(request, name) for name in _PARAMETERS})
        if answer is None:
            raise GivenUp
        pixels, self._record, sampling = answer
        return Delivery(pixels, self._record, sampling)

    def give_up(self) -> None:
        self._ask("cancel")

    def settled(self) -> bool:
        """Say whether nothing was prepared since the last call of this method."""
        before, self._shapes = self._shapes, self.counts().get("shapes", 0)
        return before == self._shapes

    def counts(self) -> Mapping[str, int]:
        found: Mapping[str, int] = self._ask("count")
        return found

    def record(self) -> Mapping[str, Any]:
        return self._record

    def close(self) -> None:
        with suppress(OSError), self._sending:
            self._connection.send((0, "close", ()))
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Send a message and wait for its answer. Raises ``RuntimeError`` for a failure over there."""
        number, answer = next(self._numbers), Future[Any]()
        with self._sending:
            self._waiting[number] = answer
            self._connection.send((number, name, arguments))
        return answer.result()

    def _receive(self) -> None:
        """Settle answers as they come; fail all that are waited for once the process has ended."""
        try:
            while True:
                number, value, failure = self._connection.recv()
                answer = self._waiting.pop(number)
                if failure is None:
                    answer.set_result(value)
                else:
                    answer.set_exception(RuntimeError(failure))
        except (EOFError, OSError):
            reason = ConnectionError(f"the engine of {self.folder} ended with status {self._process.wait()}")
            with self._sending:
                for answer in self._waiting.values():
                    answer.set_exception(reason)
