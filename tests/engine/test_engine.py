"""The engine's promises: requests share the device, equal their solo runs, and fail alone."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import (
    BadRequest,
    BrokenCheckpoint,
    Cancelled,
    Engine,
    EngineClosed,
    EngineConfig,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    OutOfMemory,
    UnknownCheckpoint,
)
from engine import loop as loop_module
from engine.denoiser import Denoiser
from engine.request import SAMPLERS, SCHEDULERS
from engine.vae import Decoder

FAST_BOUND = 1e-3
"""Relative error of the latents in ``fast`` batching against a solo run, in float32, as the README states it."""


def small(**parameters: Any) -> GenerationRequest:
    return GenerationRequest(**({"width": 64, "height": 64, "steps": 4} | parameters))


def same(one: GenerationResult, other: GenerationResult) -> bool:
    pixels = zip(one.images, other.images, strict=True)
    return torch.equal(one.latents, other.latents) and all(a.tobytes() == b.tobytes() for a, b in pixels)


def random_request(seed: int) -> GenerationRequest:
    choose = random.Random(seed)
    return small(
        prompt=choose.choice(["a cat", "a (purple:1.3) bottle", "very long, " * 40, ""]),
        negative_prompt=choose.choice(["text", "", "blurry, " * 50]),
        width=choose.choice([64, 64, 64, 96]),
        steps=choose.randint(1, 6),
        cfg_scale=choose.choice([1.0, 4.0, 8.0]),
        sampler=choose.choice(SAMPLERS),
        scheduler=choose.choice([name for name in SCHEDULERS if name != "kl_optimal"]),
        seed=choose.randrange(2**64),
        batch_size=choose.choice([1, 1, 1, 3]),
        denoise=choose.choice([1.0, 1.0, 0.6]),
        clip_skip=choose.choice([1, 2]),
        model=choose.choice([None, None, "other"]),
    )


@pytest.fixture
def open_engine(models_folder: Path) -> Iterator[Callable[..., Engine]]:
    """Makes engines with settings of the test's own, and closes them."""
    engines: list[Engine] = []

    def make(**settings: Any) -> Engine:
        defaults = {"checkpoint": "tiny", "models_folder": models_folder, "device": "cpu"}
        engines.append(Engine(EngineConfig(**(defaults | settings))))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


class Gate:
    """Holds the device's thread before each evaluation until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.permits = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.batches: list[int] = []
        original = loop_module._evaluate

        def held(trajectories: Any) -> Any:
            self.batches.append(len(trajectories))
            self.arrived.release()
            assert self.permits.acquire(timeout=30)
            return original(trajectories)

        monkeypatch.setattr(loop_module, "_evaluate", held)

    def wait(self) -> None:
        """Until the device's thread stands before an evaluation."""
        assert self.arrived.acquire(timeout=30)

    def let(self, evaluations: int) -> None:
        self.permits.release(evaluations)


def test_the_result_tells_everything(engine: Engine) -> None:
    result = engine.generate(small(batch_size=2, width=96, seed=5))
    assert [(image.size, image.mode) for image in result.images] == [((96, 64), "RGB")] * 2
    assert (result.latents.shape, result.latents.dtype) == ((2, 4, 8, 12), torch.float32)
    assert (result.seed, result.request.model) == (5, "tiny")
    assert result.record["batching"] == "exact"
    stages = dataclasses.asdict(result.timings)
    assert sum(stages.values()) == pytest.approx(2 * stages["total"])


def test_each_parameter_matters(engine: Engine) -> None:
    base = small(seed=1)
    changes: list[dict[str, Any]] = [
        {"prompt": "something else"},
        {"negative_prompt": "something else"},
        {"steps": 5},
        {"cfg_scale": 7.0},
        {"sampler": "heun"},
        {"scheduler": "karras"},
        {"seed": 0},
        {"denoise": 0.5},
        {"clip_skip": 2},
        {"model": "other"},
    ]
    results = [engine.generate(base), *(engine.generate(dataclasses.replace(base, **change)) for change in changes)]
    assert len({result.images[0].tobytes() for result in results}) == len(results)


def test_the_same_request_gives_the_same_bytes(engine: Engine) -> None:
    assert same(engine.generate(small(seed=3)), engine.generate(small(seed=3)))


def test_an_absent_seed_is_drawn_and_told(engine: Engine) -> None:
    drawn = engine.generate(small(seed=-1))
    assert same(drawn, engine.generate(small(seed=drawn.seed)))
    assert engine.generate(small(seed=None)).seed != drawn.seed


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_sampler_runs_at_few_steps(engine: Engine, sampler: str, steps: int) -> None:
    assert torch.isfinite(engine.generate(small(sampler=sampler, steps=steps)).latents).all()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_runs(engine: Engine, scheduler: str) -> None:
    assert torch.isfinite(engine.generate(small(scheduler=scheduler, steps=3, denoise=0.7)).latents).all()


@pytest.mark.parametrize("unet_rows", [2, 4, 8])
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


def test_a_sampler_that_raises_fails_its_request_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: Any, sigmas: Any, noise: Any) -> Any:
        yield x, sigmas[0]
        raise ZeroDivisionError("a sampler's mistake")

    from engine import trajectory

    monkeypatch.setattr(trajectory, "SAMPLERS", trajectory.SAMPLERS | {"ddpm": broken})
    trajectory.evaluation_count.cache_clear()
    monkeypatch.setattr(trajectory, "evaluation_count", lambda sampler, count: count)
    good, bad = engine.submit(small(steps=6)), engine.submit(small(steps=6, sampler="ddpm"))
    with pytest.raises(GenerationFailed, match="a sampler's mistake"):
        bad.result(60)
    assert same(good.result(60), engine.generate(small(steps=6)))


def test_nan_latents_fail_their_request_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Denoiser.denoise

    def poisoned(self: Denoiser, evaluations: Any) -> Any:
        predictions = original(self, evaluations)
        return [
            prediction * float("nan") if evaluation.cfg_scale == 3.25 else prediction
            for evaluation, prediction in zip(evaluations, predictions, strict=True)
        ]

    monkeypatch.setattr(Denoiser, "denoise", poisoned)
    good, bad = engine.submit(small()), engine.submit(small(cfg_scale=3.25))
    with pytest.raises(GenerationFailed, match="not finite"):
        bad.result(60)
    good.result(60)


def test_a_size_that_the_device_cannot_do_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Denoiser.denoise

    def refusing(self: Denoiser, evaluations: Any) -> Any:
        if any(evaluation.x.shape[2:] == (8, 10) for evaluation in evaluations):
            raise RuntimeError("no kernel for this size")
        return original(self, evaluations)

    monkeypatch.setattr(Denoiser, "denoise", refusing)
    good, bad = engine.submit(small()), engine.submit(small(width=80))
    with pytest.raises(GenerationFailed, match="no kernel"):
        bad.result(60)
    good.result(60)


@pytest.mark.parametrize("batching", ["exact", "fast"])
def test_out_of_memory(open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, batching: str) -> None:
    engine = open_engine(batching=batching, unet_rows=8)
    checkpoint_unet = engine._pool.acquire(engine.checkpoint_file(small())).resident.result().checkpoint.unet
    forward = checkpoint_unet.forward

    def scarce(x: Any, *args: Any, **kwargs: Any) -> Any:
        if x.shape[0] > 3:
            raise torch.OutOfMemoryError("pretended")
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(checkpoint_unet, "forward", scarce)
    handles = [engine.submit(small(seed=seed)) for seed in range(5)]
    for handle in handles:
        if batching == "exact":
            with pytest.raises(OutOfMemory, match="exact batching never splits"):
                handle.result(60)
        else:
            handle.result(60)


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


def test_a_picture_that_is_nan_in_half_precision_is_decoded_again(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Decoder._image

    def overflowing(self: Decoder, latents: Any) -> Any:
        image = original(self, latents)
        return image * float("nan") if self.half else image

    monkeypatch.setattr(Decoder, "_image", overflowing)
    engine = open_engine(dtype="bfloat16")
    result = engine.generate(small())
    assert len(set(result.images[0].tobytes())) > 1
    assert same(result, engine.generate(small()))


def test_events_count_every_step(engine: Engine) -> None:
    handle = engine.submit(small(steps=5, sampler="heun"), previews=True)
    events = list(handle.events())
    assert [event.stage for event in events[:3]] == ["loading", "waiting", "sampling"]
    assert events[-1].stage == "decoding"
    sampling = [event.step for event in events if event.stage == "sampling"]
    assert sampling == sorted(sampling)
    assert {0, 1, 2, 3, 4, 5} == set(sampling)
    assert {event.steps for event in events[1:]} == {5}


def test_previews_come_with_the_steps_and_only_the_latest_is_kept(engine: Engine) -> None:
    handle = engine.submit(small(steps=8, width=96), previews=True)
    handle.result(60)
    previews = [event.preview for event in handle.events() if event.preview is not None]
    assert [preview.size for preview in previews] == [(12, 8)]


def test_dpm_adaptive_has_no_total(engine: Engine) -> None:
    handle = engine.submit(small(sampler="dpm_adaptive"))
    handle.result(60)
    assert {event.steps for event in handle.events()} == {None}


def test_the_global_random_state_is_not_touched(engine: Engine) -> None:
    before = torch.get_rng_state()
    engine.generate(small(sampler="dpmpp_sde", steps=2))
    assert torch.equal(before, torch.get_rng_state())


def test_results_time_out(engine: Engine) -> None:
    handle = engine.submit(small(steps=500))
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    handle.cancel()


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"model": "nothing-like-it"}, "model"),
        ({"model": "../tiny"}, "model"),
        ({"prompt": "(a:nan)"}, "prompt"),
        ({"negative_prompt": "embedding:x"}, "negative_prompt"),
        ({"scheduler": "kl_optimal", "steps": 1}, "steps"),
        ({"clip_skip": 3}, "clip_skip"),
        ({"width": 16384, "height": 16384}, "width × height"),
    ],
)
def test_bad_requests_name_their_field(engine: Engine, parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        engine.generate(small(**parameters))
    assert caught.value.field == field


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(BadRequest, match="device: 'tpu'"):
        Engine(EngineConfig(device="tpu"))


@pytest.mark.parametrize(
    ("field", "value"), [("dtype", "int8"), ("batching", "best"), ("unet_rows", 0), ("max_in_flight", None)]
)
def test_bad_settings_name_their_field(field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"{field}: "):
        EngineConfig(**{field: value})


def test_a_broken_checkpoint_is_told_when_the_engine_opens(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no such thing")
    with pytest.raises(BrokenCheckpoint):
        Engine(EngineConfig(checkpoint="broken", models_folder=tmp_path, device="cpu"))


def test_without_any_checkpoint_the_request_is_told_where_to_put_one(tmp_path: Path) -> None:
    with (
        Engine(EngineConfig(models_folder=tmp_path, device="cpu")) as engine,
        pytest.raises(UnknownCheckpoint, match=r"AWPainting_v1\.3\.safetensors"),
    ):
        engine.generate()


def test_closing_fails_who_is_not_done_and_refuses_who_comes(models_folder: Path) -> None:
    engine = Engine(EngineConfig(checkpoint="tiny", models_folder=models_folder, device="cpu"))
    handle = engine.submit(small(steps=1000))
    engine.close()
    engine.close()
    with pytest.raises(EngineClosed):
        handle.result(10)
    with pytest.raises(EngineClosed):
        engine.submit(small())


def test_a_handle_keeps_its_engine_and_a_forgotten_engine_ends(models_folder: Path) -> None:
    handle = Engine(EngineConfig(checkpoint="tiny", models_folder=models_folder, device="cpu")).submit(small())
    assert handle.result(60).images
    thread = handle._on_cancel.__self__._loop._thread  # type: ignore[attr-defined]
    del handle
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not thread.is_alive()
