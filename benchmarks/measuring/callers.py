"""Sends requests to a subject and takes the times. Runs in the subject's process.

In a closed loop a fixed number of callers each wait for their picture before they ask again. In an open loop requests
arrive at given times, whether or not the earlier ones are done.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
from PIL import Image

from benchmarks.subjects.subject import Delivery, GivenUp, Subject
from engine import GenerationRequest
from engine.formats.png import encode_png

_MOST = 10  # pictures of a warm-up on a machine so busy that times never settle


@dataclass(frozen=True, kw_only=True)
class TimedPicture:
    """One picture and how long it took."""

    seconds: float
    processor_seconds: float
    """CPU time that all threads of the process and of its child processes took."""
    delivery: Delivery


def paint_timed(subject: Subject, request: GenerationRequest, png: bool = False) -> TimedPicture:
    """Time one picture alone, until it is in the CPU's memory and, with ``png``, encoded as a PNG."""
    painter = WithPng(subject) if png else subject
    children, own, begin = _children_seconds(), time.process_time(), time.perf_counter()
    delivery = painter.paint(request)
    seconds, own = time.perf_counter() - begin, time.process_time() - own
    return TimedPicture(seconds=seconds, processor_seconds=own + _children_seconds() - children, delivery=delivery)


def _children_seconds() -> float:
    """CPU seconds of the child processes that are alive, in steps of a hundredth."""
    spent = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            spent += times.user + times.system
    return spent


class WithPng:
    """Wraps a subject so that each picture is also encoded as a PNG."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def paint(self, request: GenerationRequest) -> Delivery:
        picture = self._subject.paint(request)
        encode_png(Image.fromarray(picture.pixels), {})
        return picture

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)


def warm_up(subject: Subject, requests: Iterable[GenerationRequest], least: int, seconds: float) -> list[float]:
    """Make pictures until the subject has settled and a picture takes about as long as the one before.

    Makes at least ``least`` pictures and stops after about ``seconds``. Returns the seconds of each.
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
class TimedRequest:
    """A caller's request under load. Times are in seconds since the load started."""

    arrived: float
    left: float
    steps: int
    failure: str | None = None
    """What went wrong; ``given up`` for a picture that was in progress when the load ended."""

    @property
    def served(self) -> bool:
        """Whether the caller got its picture."""
        return self.failure is None

    @property
    def seconds(self) -> float:
        """From arrival to picture."""
        return self.left - self.arrived


class RequestLog:
    """Collects timed requests from many threads."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.answered: set[int] = set()
        """Numbers of the callers whose first request has ended, with a picture or without."""
        self._door = threading.Lock()
        self._requests: list[TimedRequest] = []

    def now(self) -> float:
        """Return the seconds since the load started."""
        return time.perf_counter() - self.begin

    def send(self, subject: Subject, request: GenerationRequest, arrived: float) -> bool:
        """Send one request, wait for its picture and note the times. Returns whether it was served."""
        failure = None
        try:
            subject.paint(request)
        except GivenUp:
            failure = "given up"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        with self._door:
            self._requests.append(TimedRequest(arrived=arrived, left=self.now(), steps=request.steps, failure=failure))
        return failure is None

    def requests(self) -> list[TimedRequest]:
        """Return the requests that have ended, in the order of their ends."""
        with self._door:
            return sorted(self._requests, key=lambda request: request.left)


@contextmanager
def callers(
    subject: Subject, requests: Iterable[GenerationRequest], clients: int, stagger: float, seed: int
) -> Iterator[RequestLog]:
    """Run ``clients`` callers until the block ends; each asks again as soon as it has its picture.

    They start at random times within ``stagger`` seconds and pause a random time (a fiftieth of that on average)
    between two requests, so that they do not run in step.
    """
    log, door, source, over = RequestLog(), threading.Lock(), iter(requests), threading.Event()

    def client(number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        over.wait(choose.uniform(0, stagger))
        while not over.is_set():
            with door:
                request = next(source)
            served = log.send(subject, request, log.now())
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
) -> list[TimedRequest]:
    """Run ``callers`` for ``seconds`` and return their requests."""
    with callers(subject, requests, clients, stagger, seed) as log:
        time.sleep(max(0.0, seconds - log.now()))
    return log.requests()


def paint_all(subject: Subject, requests: Sequence[GenerationRequest], clients: int) -> float:
    """Make every picture once, ``clients`` at a time, and return the seconds. Raises what a request raises."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(max_workers=clients) as pool:
        for _ in pool.map(subject.paint, requests):
            pass
    return time.perf_counter() - begin


def open_loop(
    subject: Subject, requests: Iterable[GenerationRequest], times: Sequence[float], patience: float
) -> list[TimedRequest]:
    """Send one request at each of ``times`` (seconds from now), whether or not the earlier ones are done.

    A request is timed from when it was due, so that a late start counts. Requests that are not served ``patience``
    seconds after the last arrival are given up.
    """
    log, threads = RequestLog(), list[threading.Thread]()
    for due, request in zip(times, requests, strict=False):
        time.sleep(max(0.0, due - log.now()))
        threads.append(threading.Thread(target=log.send, args=(subject, request, due), daemon=True))
        threads[-1].start()
    deadline = log.now() + patience
    while any(thread.is_alive() for thread in threads) and log.now() < deadline:
        time.sleep(0.01)
    _clear(subject, threads)
    return log.requests()


def _clear(subject: Subject, threads: Sequence[threading.Thread]) -> None:
    """Give up pictures in progress until every caller has ended."""
    while True:
        subject.give_up()
        for thread in threads:
            thread.join(0.05)
            if thread.is_alive():
                break
        else:
            return
