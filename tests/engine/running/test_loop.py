"""The loop's turns: what one of them does for pictures that are decoded; waiting for room; a device that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine import BadRequest, Engine, EngineClosed, GenerationResult
from engine.batching.denoiser import Denoiser
from engine.running.functions import Pause, Until
from engine.running.loop import Loop
from tests.requests import small


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


class FakeExecution:
    """Decodes ``slices`` pictures, which arrive once ``copied`` is set."""

    trajectory = None

    def __init__(self, slices: int) -> None:
        self.slices = slices
        self.copied = False
        self.handle = SimpleNamespace(succeed=self.succeed)
        self.result: Any = None

    def moved(self) -> None:
        """It is at one node all the time."""

    def resume(self, answer: Any) -> Any:
        if self.slices:
            self.slices -= 1
            return Pause() if self.slices else Until([SimpleNamespace(ready=lambda: self.copied)])  # type: ignore[list-item]
        return object.__new__(GenerationResult)

    def succeed(self, result: Any) -> None:
        self.result = result


@pytest.fixture
def loop() -> Loop:
    """A loop whose thread has ended."""
    loop = Loop(device=torch.device("cpu"), capacity=4, rows=4)
    loop.close()
    return loop


def decoding(loop: Any, *slices: int) -> list[FakeExecution]:
    """Executions with that many pictures to decode each, while another one is sampled."""
    executions = [FakeExecution(count) for count in slices]
    loop._working.extend((execution, None) for execution in executions)
    loop._batcher._flying.append(object())
    return executions


def turn(loop: Any) -> None:
    """What a turn does for those that are not sampled."""
    if loop._working:
        loop._resume(*loop._working.popleft())
    loop._look_for_arrivals()


def test_pictures_are_decoded_in_turns_one_a_turn(loop: Any) -> None:
    long, short = decoding(loop, 3, 1)
    for left in ((2, 1), (2, 0), (1, 0), (0, 0)):
        turn(loop)
        assert (long.slices, short.slices) == left


def test_all_that_have_arrived_are_settled_in_one_turn(loop: Any) -> None:
    executions = decoding(loop, 1, 1, 1, 5)
    for _ in range(3):
        turn(loop)
    assert [execution.result for execution in executions] == [None] * 4
    for execution in executions:
        execution.copied = True
    turn(loop)
    assert [execution.result is not None for execution in executions] == [True, True, True, False]


def test_nothing_is_waited_for_while_there_is_something_to_decode(loop: Any) -> None:
    executions = decoding(loop, 1, 1)
    loop._batcher._flying.clear()
    for settled in ([False, False], [True, True]):
        turn(loop)
        assert [execution.result is not None for execution in executions] == settled


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
    assert second.result().images  # it fits where nothing else is at work


def test_a_request_that_never_fits_keeps_no_one_waiting(engine: Engine) -> None:
    engine.generate(small())
    first = engine.submit(small(steps=3000, seed=1))
    wait_until(lambda: engine.counts["in_flight"] == 1)
    never = engine.submit(small(width=16384, height=16384, batch_size=4096))
    engine.submit(small(seed=2)).result(30)
    with pytest.raises(BadRequest):
        never.result(0)
    assert first.cancel()  # it was still under way


def test_a_device_that_fails_stops_the_engine_for_everybody(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, submitted = open_engine(), threading.Event()

    def fail(*_: Any) -> None:
        submitted.wait(60)
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Denoiser, "predict", fail)
    handles = [engine.submit(small(seed=seed)) for seed in range(3)]
    submitted.set()
    for handle in handles:
        with pytest.raises(EngineClosed, match="illegal memory access"):
            handle.result()
    wait_until(lambda: not engine.running)
    with pytest.raises(EngineClosed, match="new process"):
        engine.submit(small())
