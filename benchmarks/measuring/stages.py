"""Measures what happens inside the engine: the time of each stage, and idle time of the GPU.

Runs in the engine's process. The engine reports its stages to a ``StageTimer``, its observer while this measures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring.callers import TimedRequest, closed_loop
from benchmarks.subjects.engine import EngineSubject
from engine import GenerationRequest
from engine.formats.png import encode_png
from engine.running.observer import Stage

_PROFILED = 2.0  # seconds: some hundred thousand kernels, which are slow to read


@dataclass(frozen=True, kw_only=True)
class Span:
    """One run of a stage, in seconds since the timer started, by the device's clock."""

    stage: Stage
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class StageTimer:
    """Notes when each stage of an engine's work begins and ends on the device: an ``Observer``."""

    def __init__(self) -> None:
        self._cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._start = self._mark()
        self._seen: list[tuple[Stage, Any, Any]] = []

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Note one run of a stage, unless it fails."""
        begin = self._mark()
        yield
        self._seen.append((name, begin, self._mark()))

    def spans(self) -> list[Span]:
        """Return what was noted, in the order of its start."""
        seen = list(self._seen)  # a subject at work may add marks that the device has yet to reach
        if self._cuda:
            torch.cuda.synchronize()
        found = [
            Span(stage=stage, begin=self._since_start(begin), end=self._since_start(end)) for stage, begin, end in seen
        ]
        return sorted(found, key=lambda span: span.begin)

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _since_start(self, mark: Any) -> float:
        return float(self._start.elapsed_time(mark) / 1000 if self._cuda else mark - self._start)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The time of one picture by stage, in seconds."""

    encode: float
    sample: float
    """From the start of the first step to the end of the last."""
    decode: float
    rest: float
    """What remains of the time to an array on the CPU: queueing, copies, waiting."""
    png: float
    """Encoding the PNG, which is not part of that time."""
    steps: tuple[float, ...]
    """The work of each step on the device."""


def observe_stages(subject: EngineSubject, requests: Iterable[GenerationRequest]) -> list[Stages]:
    """Make pictures one by one and time the stages of each."""
    found = []
    for request in requests:
        timer = StageTimer()
        begin = time.perf_counter()
        with subject.observers.to(timer):
            delivery = subject.paint(request)
        whole = time.perf_counter() - begin
        spans = timer.spans()
        steps = [span for span in spans if span.stage == "step"]
        stages = {stage: sum(span.seconds for span in spans if span.stage == stage) for stage in ("encode", "decode")}
        stages["sample"] = steps[-1].end - steps[0].begin if steps else 0.0
        begin = time.perf_counter()
        encode_png(Image.fromarray(delivery.pixels), {})
        png = time.perf_counter() - begin
        rest = whole - sum(stages.values())
        found.append(Stages(**stages, rest=rest, png=png, steps=tuple(span.seconds for span in steps)))
    return found


@dataclass(frozen=True, kw_only=True)
class Idleness:
    """Shares of the GPU's time that are idle under load, from 0 to 1."""

    between_steps: float
    """No step and no decode runs, by events on the GPU; a sampler's own small kernels count as idle here."""
    of_kernels: float | None
    """No kernel and no copy runs, by the profiler; None if it recorded nothing."""


def observe_idleness(
    subject: EngineSubject, requests: Iterable[GenerationRequest], clients: int, seconds: float, stagger: float
) -> Idleness:
    """Load the GPU with ``clients`` callers twice: with events alone, and with the profiler."""
    timer, source = StageTimer(), iter(requests)
    with subject.observers.to(timer):
        served = closed_loop(subject, source, clients, seconds, stagger, seed=1)
    busy = [(span.begin, span.end) for span in timer.spans() if span.stage != "encode"]
    return Idleness(
        between_steps=_idle(busy, *_middle(served, clients, seconds)),
        of_kernels=_profiled(subject, source, clients, min(seconds, _PROFILED)),
    )


def _middle(requests: Sequence[TimedRequest], clients: int, seconds: float) -> tuple[float, float]:
    """Return the time in which the load was steady: after the first callers were served, until no more came."""
    served = [request.left for request in requests if request.served]
    return (served[min(clients // 2, len(served) - 1)] if served else 0.0), seconds


def _profiled(
    subject: EngineSubject, requests: Iterable[GenerationRequest], clients: int, seconds: float
) -> float | None:
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        closed_loop(subject, requests, clients, seconds, stagger=seconds / 4, seed=2)
    kineto = profiler.profiler
    if kineto is None or kineto.kineto_results is None:
        return None
    events = [event for event in kineto.kineto_results.events() if str(event.device_type()).endswith("CUDA")]
    busy = [(event.start_ns() / 1e9, (event.start_ns() + event.duration_ns()) / 1e9) for event in events]
    if not busy:
        return None
    first, last = min(begin for begin, _ in busy), max(end for _, end in busy)
    margin = (last - first) / 4  # while callers start and stop the load is not steady
    return _idle(busy, first + margin, last - margin)


def _idle(busy: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """Return the share of [begin, end] that no interval covers."""
    covered, reached = 0.0, begin
    for start, stop in sorted(busy):
        if min(stop, end) > max(start, reached):
            covered += min(stop, end) - max(start, reached)
            reached = min(stop, end)
    return 1 - covered / (end - begin) if end > begin else 0.0
