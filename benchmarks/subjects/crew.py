"""The subjects of a run, each in its process: opened when they are first needed, closed when they are not any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from benchmarks.measuring.callers import warm_up
from benchmarks.measuring.workloads import Alone
from benchmarks.subjects.subject import NotHere, Subject
from benchmarks.subjects.worker import Worker, WorkerFailed
from benchmarks.suite.plan import Plan

_FIRST = 1_000_000  # numbers of the warm-up's requests, so that no measured prompt is in a cache
_WARM_SECONDS = 60.0


class Crew:
    """Open workers by their subjects' names.

    ``skip(what, reason)`` is told of those that cannot be opened, ``tell`` hears of the others.
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
        self._workers: dict[str, tuple[Worker, float]] = {}  # and when it was started
        self._failed: set[str] = set()
        self.alone: dict[str, float] = {}
        """Seconds that the latest picture of each subject's warm-up took."""

    def start(self, subjects: Iterable[Subject]) -> None:
        """Begin to open those that are not open, side by side, and do not wait for them."""
        for subject in subjects:
            if subject.name not in self._workers and subject.name not in self._failed:
                self._workers[subject.name] = self._start(subject), time.monotonic()

    def open(self, subjects: Sequence[Subject], timed: bool = True) -> list[Worker]:
        """Those of the subjects that can be opened; the others are skipped.

        They are opened side by side. If they are to be ``timed``, they are warmed up one by one, once all others that
        have been started are open too: nothing else is going on then.
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
        """Close a subject for good, and say why."""
        self._failed.add(name)
        self._skip(name, reason)
        self.release([name])

    def release(self, names: Iterable[str]) -> None:
        """Close those of these that are open; they may be opened again."""
        for name in list(names):
            if name in self._workers:
                self.alone.pop(name, None)
                self._workers.pop(name)[0].close()

    def close(self) -> None:
        """Close all."""
        for worker, _ in self._workers.values():
            worker.ask_to_end()
        self.release(self._workers)
