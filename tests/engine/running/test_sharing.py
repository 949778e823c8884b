"""Many requests at once: they share the device and equal their solo runs."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine import Cancelled, Engine
from engine.batching import trials as trials_module
from engine.batching.denoiser import Denoiser
from tests.requests import random_request, same, small

FAST_BOUND = 1e-3
"""Relative error of the latents in ``fast`` batching against a solo run, in float32, as the README states it."""


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


class Gate:
    """Holds the device's thread before each evaluation until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.permits = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.batches: list[int] = []
        original = Denoiser.predict

        def held(denoiser: Denoiser, evaluations: Any) -> Any:
            self.batches.append(len(evaluations))
            self.arrived.release()
            assert self.permits.acquire(timeout=30)
            return original(denoiser, evaluations)

        monkeypatch.setattr(Denoiser, "predict", held)

    def wait(self) -> None:
        """Until the device's thread stands before an evaluation."""
        assert self.arrived.acquire(timeout=30)

    def let(self, evaluations: int) -> None:
        self.permits.release(evaluations)


@pytest.mark.parametrize(
    "unet_rows", [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)]
)
def test_exact_batching_mixed_equals_solo_to_the_bit(open_engine: Callable[..., Engine], unet_rows: int) -> None:
    engine = open_engine(unet_rows=unet_rows)
    requests = [random_request(seed) for seed in range(12)]
    solo = [engine.generate(request) for request in requests]
    for handle, alone in zip([engine.submit(request) for request in requests], solo, strict=True):
        assert same(handle.result(60), alone)


def test_fast_batching_mixed_equals_solo_up_to_rounding(open_engine: Callable[..., Engine], engine: Engine) -> None:
    fast = open_engine(batching="fast")
    requests = [random_request(seed) for seed in range(12)]
    for request, handle in zip(requests, [fast.submit(request) for request in requests], strict=True):
        alone = engine.generate(request).latents
        assert (handle.result(60).latents - alone).norm() / alone.norm() < FAST_BOUND, request


@pytest.mark.slow
def test_200_random_requests_from_8_threads_all_finish_and_match(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(unet_rows=4)
    kinds = [dataclasses.replace(random_request(seed), steps=random.Random(seed).randint(1, 3)) for seed in range(20)]
    solo = [engine.generate(kind) for kind in kinds]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: engine.generate(kinds[number % 20]), range(200)))
    assert len(results) == 200
    for number, result in enumerate(results):
        assert same(result, solo[number % 20])


def test_requests_in_flight_share_unet_calls(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    engine = open_engine(batching="fast")
    first = engine.submit(small(sampler="heun"))
    gate.wait()
    late = engine.submit(small(sampler="euler", prompt="late", cfg_scale=3.0, steps=2))
    while not [event for event in late._events if event.stage == "waiting"]:
        gate.let(1)
        gate.wait()
    gate.let(100)
    first.result(60)
    late.result(60)
    assert 2 in gate.batches


def test_a_late_short_request_finishes_before_an_early_long_one(engine: Engine) -> None:
    long = engine.submit(small(steps=200))
    for event in long.events():
        if event.step >= 3:
            break
    engine.submit(small(steps=2)).result(60)
    assert not long.done
    long.cancel()


def test_a_cancelled_request_frees_its_place_within_one_tick(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    engine = open_engine(max_in_flight=1)
    first = engine.submit(small(steps=50))
    gate.wait()
    second = engine.submit(small(steps=1))
    assert first.cancel()
    assert not first.cancel()
    with pytest.raises(Cancelled):
        first.result()
    gate.let(2)
    second.result(60)
    assert len(gate.batches) == 2


def test_sizes_and_checkpoints_in_flight_together_advance_fairly(engine: Engine) -> None:
    engine.generate(small(model="other"))
    handles = [
        engine.submit(small(steps=30, **kind)) for kind in ({}, {"width": 96}, {"model": "other"}, {"height": 80})
    ]
    for handle in handles:
        next(event for event in handle.events() if event.step >= 10)
        steps = [other._events[-1].step for other in handles]
        assert max(steps) - min(steps) <= 10
    for handle in handles:
        handle.result(60)
