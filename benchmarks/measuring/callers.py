"""Sends requests to a subject and takes the times. Runs beside the subject, in its process.

Two ways: a fixed number of clients, each waiting for its picture before it asks again (closed loop), and arrivals at
given times, whether or not the earlier ones are done (open loop).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image

from benchmarks.subjects.subject import GivenUp, Picture, Subject
from engine import GenerationRequest
from engine.formats.png import encode_png

_MOST = 10


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One picture and how long it took."""

    seconds: float
    processor_seconds: float
    """What all threads of the process took of the CPU meanwhile."""
    picture: Picture


def paint_timed(subject: Subject, request: GenerationRequest, png: bool = False) -> Timed:
    """A picture alone. It is in the CPU's memory when the clock stops: the device has finished.

    With ``png`` the clock runs on until it is a PNG too.
    """
    begin, processor = time.perf_counter(), time.process_time()
    picture = (WithPng(subject) if png else subject).paint(request)
    return Timed(
        seconds=time.perf_counter() - begin,
        processor_seconds=time.process_time() - processor,
        picture=picture,
    )


class WithPng:
    """A subject whose pictures are done when each is a PNG too."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def paint(self, request: GenerationRequest) -> Picture:
        picture = self._subject.paint(request)
        encode_png(Image.fromarray(picture.pixels), {})
        return picture

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)


def warm_up(subject: Subject, requests: Iterable[GenerationRequest], least: int, seconds: float) -> list[float]:
    """Paint until the subject runs in its final form and a picture takes about as long as the one before.

    At least ``least`` pictures, about ``seconds`` at most; on a machine so busy that times never settle, ten. Gives the
    time that each took.
    """
    begin, spent = time.perf_counter(), list[float]()
    for request in requests:
        spent.append(paint_timed(subject, request).seconds)
        steady = len(spent) >= _MOST or (len(spent) > 1 and abs(spent[-1] / spent[-2] - 1) < 0.1)
        if len(spent) >= least and steady and subject.settled():
            break
        if len(spent) >= least and time.perf_counter() - begin > seconds:
            break
    return spent


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One client's request under load. Times in seconds since the load began."""

    arrived: float
    left: float
    steps: int
    failure: str | None = None
    """What went wrong; ``given up`` for a picture that was under way when the load ended."""

    @property
    def served(self) -> bool:
        return self.failure is None

    @property
    def seconds(self) -> float:
        """From arrival to picture."""
        return self.left - self.arrived


class Log:
    """Collects visits from many threads."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.answered: set[int] = set()
        """Numbers of the callers whose first request has ended, well or badly."""
        self._door = threading.Lock()
        self._visits: list[Visit] = []

    def now(self) -> float:
        return time.perf_counter() - self.begin

    def visit(self, subject: Subject, request: GenerationRequest, arrived: float) -> bool:
        failure = None
        try:
            subject.paint(request)
        except GivenUp:
            failure = "given up"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        with self._door:
            self._visits.append(Visit(arrived=arrived, left=self.now(), steps=request.steps, failure=failure))
        return failure is None

    def visits(self) -> list[Visit]:
        with self._door:
            return sorted(self._visits, key=lambda visit: visit.left)


@contextmanager
def callers(
    subject: Subject, requests: Iterable[GenerationRequest], clients: int, stagger: float, seed: int
) -> Iterator[Log]:
    """``clients`` callers until the block ends, each asking anew as soon as it has its picture.

    They begin at random times within ``stagger`` seconds, and pause a random time (a fiftieth of that on average)
    between two requests, so that they do not march in step.
    """
    log, door, source, over = Log(), threading.Lock(), iter(requests), threading.Event()

    def client(number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        over.wait(choose.uniform(0, stagger))
        while not over.is_set():
            with door:
                request = next(source)
            served = log.visit(subject, request, log.now())
            log.answered.add(number)
            if not served:
                break
            over.wait(choose.expovariate(50 / stagger) if stagger else 0)

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield log
    finally:
        over.set()
        _clear(subject, threads)


def closed_loop(
    subject: Subject, requests: Iterable[GenerationRequest], clients: int, seconds: float, stagger: float, seed: int
) -> list[Visit]:
    """``callers`` for ``seconds``: what they met with."""
    with callers(subject, requests, clients, stagger, seed) as log:
        time.sleep(max(0.0, seconds - log.now()))
    return log.visits()


def paint_all(subject: Subject, requests: Sequence[GenerationRequest], clients: int) -> float:
    """Every request once, ``clients`` at a time; gives the seconds that took. Raises what a request raised."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(max_workers=clients) as callers:
        for _ in callers.map(subject.paint, requests):
            pass
    return time.perf_counter() - begin


def open_loop(
    subject: Subject, requests: Iterable[GenerationRequest], times: Sequence[float], patience: float
) -> list[Visit]:
    """One request at each of ``times`` (seconds from now), whatever has become of the earlier ones.

    A visit is timed from when it should have begun, so that a late start counts. Those who are not served
    ``patience`` seconds after the last arrival are given up.
    """
    log, threads = Log(), list[threading.Thread]()
    for due, request in zip(times, requests, strict=False):
        time.sleep(max(0.0, due - log.now()))
        threads.append(threading.Thread(target=log.visit, args=(subject, request, due), daemon=True))
        threads[-1].start()
    deadline = log.now() + patience
    while any(thread.is_alive() for thread in threads) and log.now() < deadline:
        time.sleep(0.01)
    _clear(subject, threads)
    return log.visits()


def _clear(subject: Subject, threads: Sequence[threading.Thread]) -> None:
    """Give up what is under way until every caller has left."""
    while True:
        subject.give_up()
        for thread in threads:
            thread.join(0.05)
            if thread.is_alive():
                break
        else:
            return
