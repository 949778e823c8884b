"""Subjects without networks, which can be pickled as real ones are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.subjects import GivenUp, NotHere, Picture
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

    def record(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


def process_number(_: object) -> int:
    return os.getpid()


def die(_: object) -> None:
    print("these are my last words", flush=True)
    os._exit(3)


def fail(_: object) -> None:
    raise ValueError("that was wrong")


def sleep_long(_: object) -> None:
    time.sleep(600)
