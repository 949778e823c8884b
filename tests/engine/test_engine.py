"""The engine's promises to one caller: what a result holds, what is refused, how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import (
    BadRequest,
    BrokenCheckpoint,
    Engine,
    EngineClosed,
    EngineConfig,
    Handle,
    UnknownCheckpoint,
)
from engine.networks.decoder import VaeDecoder
from engine.request import SAMPLERS, SCHEDULERS
from tests.requests import same, small


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


def test_a_picture_that_is_nan_in_half_precision_is_decoded_again(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = VaeDecoder.__call__

    def overflowing(self: VaeDecoder, latents: Any) -> Any:
        image = original(self, latents)
        return image if self.dtype == torch.float32 else image * float("nan")

    monkeypatch.setattr(VaeDecoder, "__call__", overflowing)
    engine = open_engine(dtype="bfloat16")
    result = engine.generate(small())
    assert len(set(result.images[0].tobytes())) > 1
    assert same(result, engine.generate(small()))


def test_events_count_every_step(engine: Engine) -> None:
    handle = engine.submit(small(steps=5, sampler="heun"), previews=True)
    events = list(handle.events())
    assert [event.stage for event in events[:2]] == ["waiting", "sampling"]
    assert events[-1].stage == "decoding"
    sampled = next(event.node for event in events if event.stage == "sampling")
    sampling = [event.step for event in events if event.stage == "sampling"]
    assert sampling == sorted(sampling)
    assert {0, 1, 2, 3, 4, 5} == set(sampling)
    assert {event.steps for event in events if event.node == sampled} == {5}


def test_loading_is_reported_only_by_a_request_that_waits_for_its_checkpoint(
    open_engine: Callable[..., Engine],
) -> None:
    with open_engine() as engine:
        stages = []
        for model in ("other", "other"):
            handle = engine.submit(small(model=model))
            handle.result(60)
            stages.append([event.stage for event in handle.events()][:2])
    assert stages == [["loading", "waiting"], ["waiting", "sampling"]]


def test_previews_come_with_the_steps_and_only_the_latest_is_kept(engine: Engine) -> None:
    handle = engine.submit(small(steps=8, width=96), previews=True)
    handle.result(60)
    previews = [event.preview for event in handle.events() if event.preview is not None]
    assert [preview.size for preview in previews] == [(12, 8)]


def test_dpm_adaptive_has_no_total(engine: Engine) -> None:
    handle = engine.submit(small(sampler="dpm_adaptive"))
    handle.result(60)
    assert {event.steps for event in handle.events()} == {None}


def test_shapes_that_were_not_met_before_are_counted(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    assert engine.counts["shapes"] == 0
    engine.generate(small())
    first = engine.counts["shapes"]
    assert first == 3  # the text encoder's, the UNet's and the decoder's
    engine.generate(small(seed=2, prompt="something else", steps=2))
    assert engine.counts["shapes"] == first
    engine.generate(small(width=96))
    assert engine.counts["shapes"] == first + 2


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
        ({"scheduler": "kl_optimal", "steps": 1}, "steps"),
        ({"clip_skip": 3}, "clip_skip"),
        ({"width": 16384, "height": 16384}, "width"),
        ({"batch_size": 4096, "width": 1024, "height": 1024}, "batch_size"),
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
        Engine(EngineConfig(checkpoint="broken", models_folders=(tmp_path,), device="cpu"))


def test_without_any_checkpoint_the_request_is_told_where_to_put_one(tmp_path: Path) -> None:
    with (
        Engine(EngineConfig(models_folders=(tmp_path,), device="cpu")) as engine,
        pytest.raises(UnknownCheckpoint, match=r"AWPainting_v1\.3\.safetensors"),
    ):
        engine.generate()


def test_closing_fails_who_is_not_done_and_refuses_who_comes(models_folder: Path) -> None:
    engine = Engine(EngineConfig(checkpoint="tiny", models_folders=(models_folder,), device="cpu"))
    handle = engine.submit(small(steps=1000))
    engine.close()
    engine.close()
    with pytest.raises(EngineClosed):
        handle.result(10)
    with pytest.raises(EngineClosed):
        engine.submit(small())


def test_a_request_that_comes_while_the_engine_closes_is_never_left_waiting(models_folder: Path) -> None:
    engine = Engine(EngineConfig(checkpoint="tiny", models_folders=(models_folder,), device="cpu"))
    engine.submit(small(steps=1000))
    handles: list[Handle] = []

    def submit_until_closed() -> None:
        with contextlib.suppress(EngineClosed):
            while True:
                handles.append(engine.submit(small(steps=1000)))

    caller = threading.Thread(target=submit_until_closed)
    caller.start()
    while not handles:
        time.sleep(0.001)
    engine.close()
    caller.join(30)
    assert not caller.is_alive()
    for handle in handles:
        with pytest.raises(EngineClosed):
            handle.result(10)


@pytest.mark.parametrize("checkpoint", ["tiny", None], ids=["preloaded", "loaded on demand"])
def test_a_handle_keeps_its_engine_and_a_forgotten_engine_ends(models_folder: Path, checkpoint: str | None) -> None:
    engine = Engine(EngineConfig(checkpoint=checkpoint, models_folders=(models_folder,), device="cpu"))
    handle = engine.submit(small(model="tiny"))
    thread = engine._loop._thread
    del engine
    assert handle.result(60).images
    forgotten = weakref.ref(handle)
    del handle
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert forgotten() is None
    assert not thread.is_alive()


def test_a_result_names_its_own_checkpoint(engine: Engine, models_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "tiny.safetensors"
    elsewhere.write_bytes((models_folder / "other.safetensors").read_bytes())
    result = engine.generate(small(model=str(elsewhere)))
    assert same(engine.generate(result.request), result)
    assert not same(engine.generate(small()), result)


def test_what_a_caller_does_to_a_result_is_the_callers(engine: Engine) -> None:
    result = engine.generate(small())
    result.latents.mul_(2)
    result.record["batching"] = "changed"
    assert engine.generate(small()).record["batching"] == "exact"
