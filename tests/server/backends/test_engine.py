"""Tests the engine backend from the event loop: its pictures, its progress, its errors and its checkpoints."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from engine import (
    BadRequest,
    Control,
    Engine,
    EngineClosed,
    GenerationRequest,
    Lora,
    OutOfMemory,
    Progress,
    UnknownCheckpoint,
    Upscaling,
    Workflow,
)
from engine.models.folders import KINDS
from engine.workflow.sizes import Known, PictureSize
from server.backends.checkpoints import Checkpoints
from server.backends.engine import EngineBackend
from tests.requests import small
from tests.server.conftest import RunningServer
from tests.server.queues import request, settings_in, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def backend(models_folder: Path, *, start: bool = True, **values: Any) -> AsyncIterator[EngineBackend]:
    own = {"backend": "engine", "model": "tiny", "models_folders": (models_folder,), "device": "cpu"}
    made = EngineBackend(settings_in(Path("nowhere"), **(own | values)))
    try:
        if start:
            await made.start()
        yield made
    finally:
        await made.close()


def silent(progress: Progress) -> None:
    """Ignore the progress."""


def checked(own: EngineBackend, wanted: GenerationRequest) -> Workflow:
    """Return the workflow of a request that the backend has checked and given the name of its model."""
    named = own.check(wanted)
    assert isinstance(named, GenerationRequest)
    return named.workflow()


def png(size: tuple[int, int], colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


async def test_a_workflow_gets_the_pictures_that_were_handed_in_for_it(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        wanted = small(image="a", denoise=0.5)
        known = Known(pictures=(("a", PictureSize(pictures=1, height=40, width=72)),))
        named = own.check(wanted, known)
        assert isinstance(named, GenerationRequest)
        drawn = await own.run(named.workflow(), silent, inputs={"a": png((72, 40))})
        assert own._engine is not None
        alone = own._engine.generate(named, inputs={"a": png((72, 40))})
        assert drawn.images[0].tobytes() == alone.images[0].tobytes()
        other = await own.run(named.workflow(), silent, inputs={"a": png((72, 40), "red")})
        assert other.images[0].tobytes() != alone.images[0].tobytes()
        with pytest.raises(BadRequest, match="whole picture"):
            await own.run(named.workflow(), silent, inputs={"a": b"nothing"})


async def test_what_is_cancelled_while_its_pictures_are_decoded_leaves_nothing_behind(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        running = asyncio.ensure_future(
            own.run(small(image="a", steps=900).workflow(), silent, inputs={"a": png((2048, 2048))})
        )
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert own._engine is not None
        engine = own._engine
        await until(lambda: engine.counts["in_flight"] == 0)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"loras": (Lora(name="nothing-like-it"),)}, "loras[0].name"),
        ({"loras": (Lora(name="../tiny.safetensors"),)}, "loras[0].name"),
        ({"vae": "/etc/passwd"}, "vae"),
        ({"upscale": Upscaling(model="nothing-like-it")}, "upscale.model"),
        ({"image": "photo.png"}, "image"),
        ({"controls": (Control(model="nothing-like-it", image="photo.png"),)}, "controls[0].model"),
    ],
)
async def test_a_part_whose_file_is_not_there_is_refused_before_the_job_is_accepted(
    models_folder: Path, parts: dict[str, Any], field: str
) -> None:
    async with backend(models_folder, start=False) as own:
        with pytest.raises(BadRequest) as caught:
            own.check(dataclasses.replace(small(), **parts))
    assert caught.value.field == field


async def test_the_picture_is_the_engines_own(models_folder: Path, engine: Engine) -> None:
    async with backend(models_folder, unet_rows=4) as own:
        asked = ((1, None), (2, "other"), (2**64 - 1, None))
        wanted = [own.check(request(seed=seed, model=model)) for seed, model in asked]
        heard: list[list[Progress]] = [[] for _ in wanted]
        running = (own.run(each.workflow(), progress.append) for each, progress in zip(wanted, heard, strict=True))
        for number, result in enumerate(await asyncio.gather(*running)):
            assert result.workflow == wanted[number].workflow()
            reference = engine.generate(wanted[number])
            assert result.images[0].tobytes() == reference.images[0].tobytes()
            steps = [progress.step for progress in heard[number] if progress.stage == "sampling"]
            assert steps == [0, 1, 2]
            assert (heard[number][0].stage == "loading") == (wanted[number].model == "other")
        assert any(progress.preview is not None for progress in heard[0])


async def test_names_lead_into_the_models_folder_alone(models_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(b"secret")

    async with backend(models_folder, start=False) as own:
        assert own.check(request()).model == "tiny"
        assert own.check(request(model="other.safetensors")).model == "other"
        for name in (str(elsewhere), "../models/tiny", "./tiny", str(models_folder / "tiny.safetensors"), "none"):
            with pytest.raises(UnknownCheckpoint):
                own.check(request(model=name))
            with pytest.raises(UnknownCheckpoint):
                await own.load(name)
            with pytest.raises(UnknownCheckpoint):
                await own.unload(name)


async def test_what_can_be_checked_without_a_checkpoint_is_refused_at_once(models_folder: Path) -> None:
    async with backend(models_folder, start=False) as own:
        for field in ("prompt", "negative_prompt"):
            with pytest.raises(BadRequest) as caught:
                own.check(request(**{field: "(a:nan)"}))
            assert caught.value.field == field
        with pytest.raises(BadRequest):
            own.check(request(scheduler="kl_optimal", steps=1))


async def test_a_default_elsewhere_is_known_by_its_files_name(models_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes((models_folder / "tiny.safetensors").read_bytes())

    async with backend(models_folder, model=str(file)) as own:
        assert [info.name for info in own.models()] == ["mine.safetensors", "other", "tiny"]
        wanted = own.check(request())
        assert wanted.model == "mine.safetensors"
        result = await own.run(wanted.workflow(), silent)
        assert result.record["checkpoint"] == "mine.safetensors"


async def test_checkpoints_come_and_go(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        assert [(info.name, info.default, info.resident) for info in own.models()] == [
            ("tiny", True, True),
            ("other", False, False),
        ]
        await asyncio.gather(own.load("other"), own.load("other.safetensors"))
        assert all(info.resident and not info.loading for info in own.models())
        assert await own.unload("tiny")
        assert not await own.unload("tiny")
        assert [info.resident for info in own.models()] == [False, True]
        assert own.ready
        result = await own.run(checked(own, request()), silent)
        assert len(result.images) == 1
        assert all(info.resident for info in own.models())


async def test_one_failure_leaves_the_others_alone(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        good = asyncio.create_task(own.run(checked(own, request(steps=50)), silent))
        with pytest.raises(BadRequest):
            await own.run(checked(own, request(width=16384, height=16384)), silent)
        assert len((await good).images) == 1
        assert own.status()["in_flight"] == 0


async def test_a_client_is_not_the_slower_for_how_much_another_asks_for(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        steps: dict[int, int] = {}
        wanted = [own.check(request(steps=900, seed=seed)) for seed in range(8)]

        def counting(number: int) -> Callable[[Progress], None]:
            return lambda progress: steps.update({number: progress.step})

        crowd = asyncio.gather(
            *(own.run(each.workflow(), counting(number), "many") for number, each in enumerate(wanted))
        )
        await until(lambda: len(steps) == 8 and min(steps.values()) >= 1)
        before = sum(steps.values())
        await own.run(checked(own, request(steps=20)), silent, "one")
        assert sum(steps.values()) - before <= 60  # in turn with each of the eight it would be 160
        crowd.cancel()
        await asyncio.gather(crowd, return_exceptions=True)


async def test_cancelling_frees_the_places(models_folder: Path) -> None:
    async with backend(models_folder) as own:
        seen: list[int] = []
        long = own.check(request(steps=900))
        task = asyncio.gather(
            *(own.run(long.workflow(), lambda progress: seen.append(progress.step)) for _ in range(2))
        )
        await until(lambda: max(seen, default=0) >= 2)
        assert own.status()["in_flight"] == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: own.status()["in_flight"] == 0)
        heard = len(seen)
        await own.run(checked(own, request()), silent)
        assert len(seen) == heard  # a cancelled request reports nothing more


async def test_a_model_beyond_the_budget_is_reported(models_folder: Path) -> None:
    async with backend(models_folder, start=False, memory_budget=1000) as own:
        with pytest.raises(OutOfMemory):
            await own.start()
        assert not own.ready


async def test_an_engine_that_is_gone_is_reported(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.backends.engine._LOOK_AFTER_SECONDS", 0.05)

    async with backend(models_folder, start=False) as own:
        assert not own.ready
        with pytest.raises(EngineClosed):
            await own.run(checked(own, request()), silent)
        await own.start()
        assert own.ready
        assert own._engine is not None
        task = asyncio.create_task(own.run(checked(own, request(steps=900)), silent))
        await until(lambda: own.status()["in_flight"])
        monkeypatch.setattr(type(own._engine), "running", False)
        with pytest.raises(EngineClosed):
            await task
        assert not own.ready


async def test_status_tells_what_it_runs_on(models_folder: Path) -> None:
    async with backend(models_folder, start=False) as own:
        assert own.status()["device"] == "cpu"
        await own.start()
        await own.run(checked(own, request(batch_size=2, steps=3)), silent)
        status = own.status()
        assert status["device"].startswith("cpu (")
        assert (status["dtype"], status["resident"], status["evaluations"]) == ("float32", ["tiny"], 6)
        assert status["ticks"] in (3, 6)  # the two together, or one after the other, as the device likes best
        assert 0 < status["memory_free"] < status["memory_total"]


def test_the_checkpoints_are_those_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.backends.checkpoints._LOOK_AGAIN_SECONDS", 0.0)
    with pytest.raises(UnknownCheckpoint):
        Checkpoints([tmp_path], None)
    (tmp_path / "b.safetensors").write_bytes(b"12")
    checkpoints = Checkpoints([tmp_path], "b")
    (tmp_path / "a.ckpt").write_bytes(b"1")
    assert [(info.name, info.file, info.size, info.default) for info in checkpoints.models()] == [
        ("b", "b.safetensors", 2, True),
        ("a", "a.ckpt", 1, False),
    ]
    (tmp_path / "a.ckpt").unlink()
    assert [info.name for info in checkpoints.models()] == ["b"]


def test_the_files_of_each_kind_are_those_in_the_folders(tmp_path: Path) -> None:
    for name, mark in (("loras/style/ink.safetensors", "a.lora_up.weight"), ("three.safetensors", "emb_params")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({mark: torch.zeros(3, 8)}, tmp_path / name)
    (tmp_path / "SD1.5").mkdir()
    save_file({"model.diffusion_model.a": torch.zeros(1)}, tmp_path / "SD1.5" / "tiny.safetensors")
    checkpoints = Checkpoints([tmp_path], "tiny")
    files = {kind: [file.name for file in checkpoints.files(kind)] for kind in KINDS}
    assert files["loras"] == ["style/ink.safetensors"]
    assert files["embeddings"] == ["three.safetensors"]
    assert files["checkpoints"] == ["SD1.5/tiny.safetensors"] == [info.file for info in checkpoints.models()]
    assert checkpoints.default_name == "tiny"
    assert checkpoints.name_of("SD1.5\\tiny.safetensors") == "tiny"


async def test_a_graph_that_names_a_file_of_another_kind_is_refused_at_once(models_folder: Path) -> None:
    graph = small().workflow().to_comfyui()
    graph["20"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "tiny.safetensors"}}
    graph["21"] = {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["20", 0], "image": ["8", 0]}}
    graph["9"]["inputs"]["images"] = ["21", 0]
    async with backend(models_folder, start=False) as own:
        with pytest.raises(BadRequest, match=r"tiny\.safetensors is there, but it is a checkpoint") as caught:
            own.check(Workflow.from_comfyui(graph))
        assert caught.value.field == "workflow node 20 (UpscaleModelLoader) model_name"


def test_jobs_over_http_are_the_engines_pictures(engine_server: RunningServer, engine: Engine) -> None:
    """Many jobs on two models run at once, and each picture is what it is alone."""
    base = {"width": 64, "height": 64, "steps": 3}
    wanted = [base | {"seed": seed, "model": ("tiny", "other")[seed % 2]} for seed in range(8)]
    answers: dict[int, httpx.Response] = {}

    def ask(number: int) -> None:
        answers[number] = httpx.post(f"{engine_server.url}/api/v1/generate", json=wanted[number], timeout=120)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, body in enumerate(wanted):
        picture = httpx.get(answers[number].raise_for_status().json()["output_url"]).content
        reference = engine.generate(GenerationRequest(**body)).images[0]  # type: ignore[arg-type]
        assert Image.open(io.BytesIO(picture)).tobytes() == reference.tobytes()
