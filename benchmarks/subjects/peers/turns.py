"""Lets a subject serve many callers one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from benchmarks.subjects.subject import GivenUp

T = TypeVar("T")


class Turns:
    """Runs jobs one at a time in the order of arrival, all on one thread, since CUDA graphs may belong to a thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._door = threading.Lock()
        self._queued: set[Future[Any]] = set()

    def run(self, job: Callable[[], T]) -> T:
        """Run ``job`` when its turn comes and return its result. Raises ``GivenUp`` if ``give_up`` came first."""
        future = self._thread.submit(job)
        with self._door:
            self._queued.add(future)
        try:
            return future.result()
        except CancelledError:
            raise GivenUp from None
        finally:
            with self._door:
                self._queued.discard(future)

    def give_up(self) -> None:
        """Drop the jobs whose turn has not come; the one that is running goes on to its end."""
        with self._door:
            for future in self._queued:
                future.cancel()

    def close(self) -> None:
        self.give_up()
        self._thread.shutdown()
