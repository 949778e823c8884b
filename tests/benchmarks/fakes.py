"""Subjects without networks, which can be pickled as real ones are."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.subjects.subject import GivenUp, NotHere, Picture
from engine import GenerationRequest


@dataclass(kw_only=True)
class FakeSubject:
    """Paints grey after ``seconds``; as many at once as ``places``."""

    name: str = "fake"
    device: str = "cpu"
    dtype: str = "float32"
    includes: str = "nothing"
    seconds: float = 0.001
    places: int = 64
    refuses: bool = False
    """Whether it is not to be had on this machine."""
    failing: str = ""
    """Prompts that hold this fail."""

    def absent(self) -> str | None:
        return None

    def open(self) -> None:
        if self.refuses:
            raise NotHere("not on this machine")
        self._door = threading.Condition()
        self._gone = threading.Event()
        self.inside = self.most_inside = self.painted = 0

    def paint(self, request: GenerationRequest) -> Picture:
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
        return Picture(np.full((request.height, request.width, 3), 128, np.uint8))

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
class _Wish:
    steps: int
    """Still to go."""
    gone: bool = False
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class SteadySubject(FakeSubject):
    """An engine that never falters: ticks as the real one's, in which every picture under way advances by a step, at a
    fixed number of ``evaluations`` a second.
    """

    evaluations: float = 800.0
    hurdles: int = 0
    """How many times something has to be prepared, ``interval`` seconds after each other."""
    interval: float = 0.2

    def open(self) -> None:
        super().open()
        self._inbox: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._wishes: set[_Wish] = set()
        self._done = 0
        self._began = time.perf_counter()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        flying: list[_Wish] = []
        due = time.perf_counter()
        while True:
            while len(flying) < self.places and (not self._inbox.empty() or not flying):
                wish = self._inbox.get()
                due = due if flying else max(due, time.perf_counter())
                flying.append(wish)
            flying = [wish for wish in flying if not wish.gone]
            due += len(flying) / self.evaluations
            time.sleep(max(0.0, due - time.perf_counter()))
            self._done += len(flying)
            for wish in flying:
                wish.steps -= 1
                if wish.steps == 0:
                    wish.done.set()
            flying = [wish for wish in flying if wish.steps > 0]

    def paint(self, request: GenerationRequest) -> Picture:
        wish = _Wish(request.steps)
        self._wishes.add(wish)
        self._inbox.put(wish)
        wish.done.wait()
        self._wishes.discard(wish)
        if wish.gone:
            raise GivenUp
        return Picture(np.full((1, 1, 3), 128, np.uint8))

    def give_up(self) -> None:
        for wish in list(self._wishes):
            wish.gone = True
            wish.done.set()

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
