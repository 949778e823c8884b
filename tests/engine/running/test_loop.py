"""The loop's turns: what one of them does for those who are being decoded; who waits for room; a device that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine import Engine, EngineClosed
from engine.batching.denoiser import Denoiser
from engine.running.loop import Loop
from tests.requests import small


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


class FakeFinish:
    """Decodes ``slices`` pictures, which are ready once ``copied`` is set."""

    def __init__(self, slices: int) -> None:
        self.slices = slices
        self.copied = False

    @property
    def decoded(self) -> bool:
        return self.slices == 0

    def ready(self) -> bool:
        return self.decoded and self.copied

    def slice(self) -> None:
        self.slices -= 1


class FakeJob:
    def __init__(self, slices: int) -> None:
        self.finish = FakeFinish(slices)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """One whose thread has ended, and that keeps whom it settles in ``settled``."""
    loop: Any = Loop(device=torch.device("cpu"), capacity=4, rows=4)
    loop.close()
    loop.settled = []

    def settle(job: Any, finish: Any) -> None:
        loop.settled.append(job)
        loop._finishing.remove(job)

    monkeypatch.setattr(loop, "_settle", settle)
    return loop


def finishing(loop: Any, *slices: int) -> list[FakeJob]:
    """Jobs of so many pictures to decode each, while somebody else is sampled."""
    jobs = [FakeJob(count) for count in slices]
    loop._finishing.extend(jobs)
    loop._batcher._flying.append(object())
    return jobs


def test_pictures_are_decoded_in_turns_one_a_turn(loop: Any) -> None:
    long, short = finishing(loop, 3, 1)
    for left in ((2, 1), (2, 0), (1, 0), (0, 0)):
        loop._finish_some()
        assert (long.finish.slices, short.finish.slices) == left


def test_all_who_are_ready_are_settled_in_one_turn(loop: Any) -> None:
    jobs = finishing(loop, 1, 1, 1, 5)
    for _ in range(3):
        loop._finish_some()
    assert loop.settled == []
    for job in jobs:
        job.finish.copied = True
    loop._finish_some()
    assert loop.settled == jobs[:3]


def test_nobody_is_waited_for_while_there_is_something_to_decode(loop: Any) -> None:
    first, second = finishing(loop, 1, 1)
    loop._batcher._flying.clear()
    for settled in ([], [], [first, second]):
        loop._finish_some()
        assert loop.settled == settled


def test_a_request_waits_for_the_room_that_others_hold(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    engine.generate(small())
    narrow = threading.Event()
    monkeypatch.setattr("engine.running.loop.has_room", lambda *_: not narrow.is_set())
    first = engine.submit(small(steps=30, seed=1))
    wait_until(lambda: engine.counts["in_flight"] == 1)
    narrow.set()
    second = engine.submit(small(seed=2))
    first.result()
    assert second.result().images  # it fits where nobody else is at work


def test_a_device_that_fails_stops_the_engine_for_everybody(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()

    def fail(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Denoiser, "denoise", fail)
    handles = [engine.submit(small(seed=seed)) for seed in range(3)]
    for handle in handles:
        with pytest.raises(EngineClosed, match="illegal memory access"):
            handle.result()
    wait_until(lambda: not engine.running)
    with pytest.raises(EngineClosed, match="new process"):
        engine.submit(small())
