"""Subjects without networks, which can be pickled like real ones."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.subjects.subject import Delivery, GivenUp, NotHere
from engine import GenerationRequest


@dataclass(kw_only=True)
class FakeSubject:
    """Makes grey pictures after ``seconds``, up to ``places`` at the same time."""

    name: str = "fake"
    device: str = "cpu"
    dtype: str = "float32"
    concurrent: bool = False
    includes: str = "nothing"
    seconds: float = 0.001
    places: int = 64
    refuses: bool = False
    """Whether it says that it cannot run on this machine."""
    failing: str = ""
    """Requests whose prompt contains this fail."""

    def absent(self) -> str | None:
        return None

    def open(self) -> None:
        if self.refuses:
            raise NotHere("not on this machine")
        self._door = threading.Condition()
        self._gone = threading.Event()
        self.inside = self.most_inside = self.painted = 0

    def paint(self, request: GenerationRequest) -> Delivery:
        if self.failing and self.failing in request.prompt:
            raise RuntimeError("this one fails")
        with self._door:
            while self.inside >= self.places:
                if self._gone.is_set():
                    raise GivenUp
                self._door.wait(0.01)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        gone = self._gone.wait(self.seconds)
        with self._door:
            self.inside -= 1
            self.painted += not gone
            self._door.notify()
        if gone:
            raise GivenUp
        return Delivery(np.full((request.height, request.width, 3), 128, np.uint8))

    def give_up(self) -> None:
        self._gone.set()

    def settled(self) -> bool:
        return self.painted >= 3

    def counts(self) -> Mapping[str, int]:
        return {}

    def record(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


@dataclass(eq=False)
class _Wanted:
    steps: int
    """Steps that remain."""
    gone: bool = False
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class SteadySubject(FakeSubject):
    """Advances every picture in progress by a step in each tick, at a fixed number of ``evaluations`` a second."""

    evaluations: float = 800.0
    hurdles: int = 0
    """How many times something has to be prepared, ``interval`` seconds apart."""
    interval: float = 0.2

    def open(self) -> None:
        super().open()
        self._inbox: queue.SimpleQueue[_Wanted] = queue.SimpleQueue()
        self._wanted_pictures: set[_Wanted] = set()
        self._done = 0
        self._began = time.perf_counter()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        flying: list[_Wanted] = []
        due = time.perf_counter()
        while True:
            while len(flying) < self.places and (not self._inbox.empty() or not flying):
                wanted = self._inbox.get()
                due = due if flying else max(due, time.perf_counter())
                flying.append(wanted)
            flying = [wanted for wanted in flying if not wanted.gone]
            due += len(flying) / self.evaluations
            time.sleep(max(0.0, due - time.perf_counter()))
            self._done += len(flying)
            for wanted in flying:
                wanted.steps -= 1
                if wanted.steps == 0:
                    wanted.done.set()
            flying = [wanted for wanted in flying if wanted.steps > 0]

    def paint(self, request: GenerationRequest) -> Delivery:
        wanted = _Wanted(request.steps)
        self._wanted_pictures.add(wanted)
        self._inbox.put(wanted)
        wanted.done.wait()
        self._wanted_pictures.discard(wanted)
        if wanted.gone:
            raise GivenUp
        return Delivery(np.full((1, 1, 3), 128, np.uint8))

    def give_up(self) -> None:
        for wanted in list(self._wanted_pictures):
            wanted.gone = True
            wanted.done.set()

    def counts(self) -> Mapping[str, int]:
        over = int((time.perf_counter() - self._began) / self.interval)
        return {"evaluations": self._done, "shapes": min(self.hurdles, over)}


def process_number(_: object) -> int:
    return os.getpid()


def die(_: object) -> None:
    print("these are my last words", flush=True)
    os._exit(3)


def fail(_: object) -> None:
    raise ValueError("that was wrong")


def sleep_long(_: object) -> None:
    time.sleep(600)
