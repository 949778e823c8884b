"""Measures pictures a second under a closed load, by the work done between two moments. Runs in the subject's process.

A window has few finished pictures, one more or one less by chance, but many evaluations. So a subject that counts its
evaluations is asked for the count before and after. A subject that does not makes one picture after another, so that
whole pictures lie between two of its deliveries, and each counts with its own number of steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measuring.callers import RequestLog, TimedRequest, WithPng, callers
from benchmarks.subjects.subject import Subject
from engine import GenerationRequest

_POLL_SHAPES, _POLL_EVALUATIONS = 0.005, 0.001  # seconds


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was observed of a load once it was steady."""

    seconds: float
    work: int
    """Evaluations of one picture each in those seconds, or steps of the pictures that were delivered in them."""
    counted: bool
    """Whether ``work`` is the subject's own count of evaluations."""
    warm_after: float
    """Seconds from the start of the load until something was last prepared before the window; 0 if nothing was."""
    quiet: bool
    """Whether nothing had been prepared for long enough when the window started."""
    prepared: int
    """How often something was prepared within the window nevertheless."""
    requests: Sequence[TimedRequest]
    """The requests of the whole load."""

    def rate(self, per_picture: float) -> float:
        """Convert the work to pictures a second, at ``per_picture`` of it each."""
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
    """Load the subject with ``clients`` callers (as ``closed_loop``) and watch it for ``seconds`` once it is warm.

    A subject is warm once it has served every caller and has prepared nothing for ``quiet`` seconds; after ``patience``
    seconds it is watched as it is. A subject that counts no evaluations is watched from its first picture on. With
    ``png`` a caller encodes each picture as a PNG before it asks for the next.
    """
    with callers(WithPng(subject) if png else subject, requests, clients, stagger, seed) as load:
        warm_after, is_quiet = _wait_warm(subject, load, clients, quiet, patience)
        begin, before = _moment(subject, load, seconds)
        time.sleep(seconds)
        end, after = _moment(subject, load, seconds)
    ended = load.requests()
    counted = bool(before)
    work, span = after.get("evaluations", 0) - before.get("evaluations", 0), end - begin
    if not counted:
        work, span = _between_deliveries(ended)
    return Window(
        seconds=span,
        work=work,
        counted=counted,
        warm_after=warm_after,
        quiet=is_quiet,
        prepared=_shapes(after) - _shapes(before),
        requests=ended,
    )


def _wait_warm(subject: Subject, load: RequestLog, clients: int, quiet: float, patience: float) -> tuple[float, bool]:
    """Wait until the subject is warm; give the seconds since the load started at which something was last prepared,
    and whether it is warm.
    """
    counts = subject.counts()
    callers_first = clients if counts else 1
    known, since = _shapes(counts), 0.0
    while load.now() < patience:
        now = _shapes(subject.counts())
        if now != known:
            known, since = now, load.now()
        if len(load.answered) >= callers_first and (not counts or load.now() - since >= quiet):
            return since, True
        time.sleep(_POLL_SHAPES)
    return since, False


def _moment(subject: Subject, load: RequestLog, most: float) -> tuple[float, Mapping[str, int]]:
    """Give time and counts just after the next evaluations, so that none is half done, or now if none come."""
    before = subject.counts()
    deadline = load.now() + most
    counts = before
    while before and counts["evaluations"] == before["evaluations"] and load.now() < deadline:
        time.sleep(_POLL_EVALUATIONS)
        counts = subject.counts()
    return load.now(), counts


def _shapes(counts: Mapping[str, int]) -> int:
    return counts.get("shapes", 0)


def _between_deliveries(requests: Sequence[TimedRequest]) -> tuple[int, float]:
    """Sum the steps of the pictures after the first; also give the seconds between first and last delivery."""
    served = [request for request in requests if request.served]
    if len(served) < 2:
        return 0, 0.0
    return sum(request.steps for request in served[1:]), served[-1].left - served[0].left
