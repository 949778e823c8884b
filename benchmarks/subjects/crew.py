"""Keeps the workers of a run: opens each when it is first needed and closes it when it is no longer needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from benchmarks.measuring.callers import warm_up
from benchmarks.measuring.workloads import Alone
from benchmarks.subjects.subject import NotHere, Subject
from benchmarks.subjects.worker import Worker, WorkerFailed
from benchmarks.suite.plan import Plan

_FIRST = 1_000_000  # number of the first warm-up request, so that no measured prompt is in a cache
_WARM_SECONDS = 60.0


class Crew:
    """Holds the open workers by the names of their subjects.

    Calls ``skip(name, reason)`` for a subject that cannot be opened, and ``tell(text)`` once one is warm.
    """

    def __init__(
        self,
        plan: Plan,
        skip: Callable[[str, str], None],
        tell: Callable[[str], None],
        start: Callable[[Subject], Worker] = Worker,
    ) -> None:
        self._plan = plan
        self._skip = skip
        self._tell = tell
        self._start = start
        self._workers: dict[str, tuple[Worker, float]] = {}  # with the time of their start
        self._failed: set[str] = set()
        self.alone: dict[str, float] = {}
        """Seconds of the latest picture of each subject's warm-up, by name."""

    def start(self, subjects: Iterable[Subject]) -> None:
        """Start to open the subjects that are not open, in parallel, without waiting for them."""
        for subject in subjects:
            if subject.name not in self._workers and subject.name not in self._failed:
                self._workers[subject.name] = self._start(subject), time.monotonic()

    def open(self, subjects: Sequence[Subject], timed: bool = True) -> list[Worker]:
        """Return the workers of the subjects that can be opened; the others are skipped.

        They are opened in parallel. If they are to be ``timed``, they are warmed up one by one after every worker that
        was started is open, so that nothing else runs at that time.
        """
        self.start(subjects)
        names = [subject.name for subject in subjects]
        for name in list(self._workers) if timed else names:
            self._attempt(name, self._wait)
        if timed:
            for name in names:
                self._attempt(name, self._warm)
        return [self._workers[name][0] for name in names if name in self._workers]

    def _wait(self, worker: Worker, started: float) -> None:
        worker.wait_open(max(0.0, started + self._plan.patience - time.monotonic()))

    def _warm(self, worker: Worker, _: float) -> None:
        name = worker.subject.name
        if name in self.alone:
            return
        least = 1 if self._plan.device == "cpu" else 4
        job = partial(warm_up, requests=Alone(self._plan.scale, _FIRST), least=least, seconds=_WARM_SECONDS)
        spent = worker.call(job, self._plan.patience)
        self.alone[name] = spent[-1]
        self._tell(
            f"  {name}: open after {worker.open_seconds or 0:.1f} s, "
            f"first picture {spent[0]:.3g} s, then {spent[-1]:.3g} s ({len(spent)} pictures)"
        )

    def _attempt(self, name: str, what: Callable[[Worker, float], None]) -> None:
        if name not in self._workers:
            return
        try:
            what(*self._workers[name])
        except (NotHere, WorkerFailed) as reason:
            self.drop(name, str(reason))

    def drop(self, name: str, reason: str) -> None:
        """Close a subject for the rest of the run and report the reason."""
        self._failed.add(name)
        self._skip(name, reason)
        self.release([name])

    def release(self, names: Iterable[str]) -> None:
        """Close the workers of these names that are open; they may be opened again."""
        for name in list(names):
            if name in self._workers:
                self.alone.pop(name, None)
                self._workers.pop(name)[0].close()

    def close(self) -> None:
        """Close all workers."""
        for worker, _ in self._workers.values():
            worker.ask_to_end()
        self.release(self._workers)
