"""Runs the engine of the checkout in the working folder, for ``EarlierEngineSubject`` in another process.

Started as a file with the number of a connection. Imports nothing of this suite, and uses only what every version of
the engine has, so that the engine may be older or newer than the suite.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[0] = os.getcwd()  # the checkout comes before an installed engine

import engine  # noqa: E402
from engine import Cancelled, Engine, EngineConfig, GenerationRequest  # noqa: E402


class Requests:
    """Submits requests to the engine and sends each picture back as soon as it is there."""

    def __init__(self, running: Engine, connection: Connection) -> None:
        self._engine = running
        self._connection = connection
        self._sending = threading.Lock()
        self._handles: set[Any] = set()

    def send(self, number: int, value: Any = None, failure: str | None = None) -> None:
        """Answer the message ``number``."""
        with self._sending:
            self._connection.send((number, value, failure))

    def make(self, number: int, parameters: dict[str, Any]) -> None:
        """Submit a request and return at once."""
        try:
            handle = self._engine.submit(GenerationRequest(**parameters))
        except Exception as error:
            self.send(number, failure=f"{type(error).__name__}: {error}")
            return
        self._handles.add(handle)
        threading.Thread(target=self._deliver, args=(number, handle), daemon=True).start()

    def cancel(self, number: int) -> None:
        """Cancel every request in progress."""
        for handle in list(self._handles):
            handle.cancel()
        self.send(number)

    def count(self, number: int) -> None:
        """Send the engine's counts."""
        self.send(number, dict(self._engine.counts))

    def _deliver(self, number: int, handle: Any) -> None:
        """Send the picture (height, width, 3), its record and its seconds of sampling; None if it was cancelled."""
        import numpy as np

        try:
            result = handle.result()
            record = {name: str(value) for name, value in getattr(result, "record", {}).items()}
            self.send(number, (np.asarray(result.images[0]), record, result.timings.sample))
        except Cancelled:
            self.send(number)
        except Exception as error:
            self.send(number, failure=f"{type(error).__name__}: {error}")
        finally:
            self._handles.discard(handle)


def main() -> None:
    """Open the engine with the settings that come first, then answer messages until one says to close."""
    connection = Connection(int(sys.argv[1]))
    settings = connection.recv()
    found = Path(engine.__file__).resolve()
    if not found.is_relative_to(Path.cwd().resolve()):
        raise SystemExit(f"the engine that was imported is another one: {found}")
    with Engine(EngineConfig(**settings)) as running:
        requests = Requests(running, connection)
        requests.send(0)
        with suppress(EOFError):
            while True:
                number, name, arguments = connection.recv()
                if name == "close":
                    break
                getattr(requests, name)(number, *arguments)


if __name__ == "__main__":
    main()
