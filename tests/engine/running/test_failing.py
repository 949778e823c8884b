"""One request's failure fails that request alone."""

from __future__ import annotations

import dataclasses
import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine import Engine, EngineClosed, GenerationFailed, OutOfMemory
from engine.batching import trajectory
from engine.batching.denoiser import Denoiser
from engine.networks.unet import Unet
from engine.pictures.decoder import Decoder
from engine.running import failures
from engine.running.functions import vae
from engine.sampling import schedules
from engine.sampling.levels import STABLE_DIFFUSION_1 as LEVELS
from engine.sampling.samplers import discrete
from engine.sampling.samplers.table import sampler_named
from tests.requests import same, small

_KARRAS = {"steps": small().steps, "sigma_max": LEVELS.sigma_max, "sigma_min": LEVELS.sigma_min}


def test_a_sampler_that_raises_fails_its_request_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: Any, sigmas: Any, noise: Any) -> Any:
        yield x, sigmas[0]
        raise ZeroDivisionError("a sampler's mistake")

    monkeypatch.setattr(discrete, "ddpm", broken)
    ddpm = dataclasses.replace(sampler_named("ddpm"))  # a record anew, which has not looked its function up yet
    monkeypatch.setattr(trajectory, "sampler_named", lambda name: ddpm if name == "ddpm" else sampler_named(name))
    monkeypatch.setattr(trajectory, "evaluation_count", lambda sampler, count, **_: count)
    good, bad = engine.submit(small(steps=6)), engine.submit(small(steps=6, sampler="ddpm"))
    with pytest.raises(GenerationFailed, match="a sampler's mistake"):
        bad.result(60)
    assert same(good.result(60), engine.generate(small(steps=6)))


def test_nan_latents_fail_their_request_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original, poisonous = Denoiser.predict, {float(sigma) for sigma in schedules.karras(**_KARRAS)}

    def poisoned(self: Denoiser, evaluations: Any) -> Any:
        return [
            [(eps * float("nan"),) for (eps,) in predicted] if float(evaluation.sigma) in poisonous else predicted
            for evaluation, predicted in zip(evaluations, original(self, evaluations), strict=True)
        ]

    monkeypatch.setattr(Denoiser, "predict", poisoned)
    good, bad = engine.submit(small()), engine.submit(small(scheduler="karras"))
    with pytest.raises(GenerationFailed, match="not finite"):
        bad.result(60)
    good.result(60)


def test_a_size_that_the_device_cannot_do_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Denoiser.predict

    def refusing(self: Denoiser, evaluations: Any) -> Any:
        if any(evaluation.x.shape[2:] == (8, 10) for evaluation in evaluations):
            raise RuntimeError("no kernel for this size")
        return original(self, evaluations)

    monkeypatch.setattr(Denoiser, "predict", refusing)
    good, bad = engine.submit(small()), engine.submit(small(width=80))
    with pytest.raises(GenerationFailed, match="no kernel"):
        bad.result(60)
    good.result(60)


@pytest.mark.parametrize(("batching", "most"), [("fast", 3), ("fast", 1), ("exact", 3), ("exact", 1)])
def test_out_of_memory(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, batching: str, most: int
) -> None:
    engine = open_engine(batching=batching, unet_rows=8)
    forward = Unet.__call__

    def scarce(self: Unet, x: Any, times: Any, conditioning: Any) -> Any:
        if conditioning.shape[0] > most:
            raise torch.OutOfMemoryError("pretended")
        return forward(self, x, times, conditioning)

    monkeypatch.setattr(Unet, "__call__", scarce)
    handles = [engine.submit(small(seed=seed)) for seed in range(5)]
    for handle in handles:
        if (batching, most) == ("exact", 1):
            with pytest.raises(OutOfMemory, match="exact batching"):
                handle.result(60)
        else:
            handle.result(60)


def test_pictures_without_memory_are_decoded_once_more_when_graphs_have_given_theirs_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[Decoder] = []
    shown = vae.eight_bits

    def scarce(image: torch.Tensor) -> torch.Tensor:
        if not released:
            raise torch.OutOfMemoryError("pretended")
        return shown(image)

    def release(self: Decoder) -> None:
        released.append(self)

    wanted = engine.generate(small())
    monkeypatch.setattr(vae, "eight_bits", scarce)
    monkeypatch.setattr(Decoder, "release", release)
    assert same(engine.generate(small()), wanted)
    assert len(released) == 1


def test_a_preview_that_fails_costs_nobody_anything_else(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Decoder, latents: Any) -> Any:
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(Decoder, "preview", broken)
    watched, other = engine.submit(small(), previews=True), engine.submit(small(seed=2))
    assert same(watched.result(60), engine.generate(small()))
    other.result(60)


def test_an_error_does_not_keep_tensors_alive(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def failing(self: Denoiser, evaluations: Any) -> Any:
        activation = torch.zeros(3)
        kept.append(weakref.ref(activation))
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(Denoiser, "predict", failing)
    monkeypatch.setattr(failures, "_log", logging.getLogger("nobody listens"))  # pytest keeps what is logged
    logging.getLogger("nobody listens").disabled = True
    handle = engine.submit(small())
    for _ in range(2):
        with pytest.raises(GenerationFailed, match="no such kernel"):
            handle.result(60)
    engine.submit(small()).cancel()  # the loop has gone on, and left its frames
    deadline = time.monotonic() + 10
    while kept[0]() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert kept[0]() is None


def test_a_request_that_comes_while_the_device_fails_ends(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    device = engine._loop

    class Inbox:
        """Has the device fail just before the first job is in it."""

        def __init__(self) -> None:
            self._queue, self._intact = device._inbox, True

        def put(self, item: Callable[[], None]) -> None:
            if self._intact:
                self._intact = False
                self._queue.put(lambda: device._stop_for(RuntimeError("it fell off the bus")))
                device._thread.join(0.5)
            self._queue.put(item)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._queue, name)

    device._inbox = Inbox()  # type: ignore[assignment]
    with pytest.raises(EngineClosed, match="it fell off the bus"):
        engine.submit(small()).result(60)
    assert not engine.running
