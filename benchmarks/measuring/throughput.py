"""Pictures a second under a closed load, by the work that is done between two moments. Runs beside the subject.

Finished pictures are few, and a window holds one more or one less of them by chance; evaluations are many. Who counts
them is asked before and after. Who does not makes one picture after another, so that whole pictures lie between two of
its deliveries: each counts by its own steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measuring.callers import Log, Visit, WithPng, callers
from benchmarks.subjects.subject import Subject
from engine import GenerationRequest

_LOOK, _WATCH = 0.005, 0.001  # seconds between two looks at what was prepared, and at the evaluations


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was seen of a load once it was steady."""

    seconds: float
    work: int
    """Evaluations of one picture each, or steps of the pictures that were delivered, in those seconds."""
    counted: bool
    """Whether ``work`` is the subject's own count of evaluations."""
    warm_after: float
    """Seconds from the beginning of the load to when something was last prepared before the window; 0: never."""
    quiet: bool
    """Whether nothing had been prepared for long enough when the window began."""
    prepared: int
    """What was prepared within the window all the same."""
    visits: Sequence[Visit]
    """Those of the whole load."""

    def rate(self, per_picture: float) -> float:
        """Pictures a second, each ``per_picture`` of the work."""
        return self.work / per_picture / self.seconds if self.seconds > 0 else 0.0


def observe_window(
    subject: Subject,
    requests: Iterable[GenerationRequest],
    *,
    clients: int,
    seconds: float,
    stagger: float,
    seed: int,
    quiet: float,
    patience: float,
    png: bool = False,
) -> Window:
    """Load the subject with ``clients`` callers (as ``closed_loop``), and watch it for ``seconds`` once it is warm.

    Warm is who has served every caller once and has prepared nothing for ``quiet`` seconds; after ``patience`` seconds
    it is watched as it is. Who counts no evaluations is watched from the first picture on. With ``png`` a caller makes
    a PNG of each picture before it asks for the next.
    """
    with callers(WithPng(subject) if png else subject, requests, clients, stagger, seed) as load:
        warm_after, is_quiet = _wait_warm(subject, load, clients, quiet, patience)
        begin, before = _moment(subject, load, seconds)
        time.sleep(seconds)
        end, after = _moment(subject, load, seconds)
    visits = load.visits()
    counted = bool(before)
    work, span = after.get("evaluations", 0) - before.get("evaluations", 0), end - begin
    if not counted:
        work, span = _between_deliveries(visits)
    return Window(
        seconds=span,
        work=work,
        counted=counted,
        warm_after=warm_after,
        quiet=is_quiet,
        prepared=_shapes(after) - _shapes(before),
        visits=visits,
    )


def _wait_warm(subject: Subject, load: Log, clients: int, quiet: float, patience: float) -> tuple[float, bool]:
    """When something was last prepared, in seconds since the load began, and whether it is warm."""
    counts = subject.counts()
    callers_first = clients if counts else 1
    known, since = _shapes(counts), 0.0
    while load.now() < patience:
        now = _shapes(subject.counts())
        if now != known:
            known, since = now, load.now()
        if len(load.answered) >= callers_first and (not counts or load.now() - since >= quiet):
            return since, True
        time.sleep(_LOOK)
    return since, False


def _moment(subject: Subject, load: Log, most: float) -> tuple[float, Mapping[str, int]]:
    """The time and the counts just after the next evaluations, so that none is half done; at once where none come."""
    before = subject.counts()
    deadline = load.now() + most
    counts = before
    while before and counts["evaluations"] == before["evaluations"] and load.now() < deadline:
        time.sleep(_WATCH)
        counts = subject.counts()
    return load.now(), counts


def _shapes(counts: Mapping[str, int]) -> int:
    return counts.get("shapes", 0)


def _between_deliveries(visits: Sequence[Visit]) -> tuple[int, float]:
    """The steps of the pictures after the first one and the seconds between the first and the last of them."""
    served = [visit for visit in visits if visit.served]
    if len(served) < 2:
        return 0, 0.0
    return sum(visit.steps for visit in served[1:]), served[-1].left - served[0].left
