"""What takes long is done in slices, or elsewhere: others' steps go on in between, and the result is the same."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import Engine, EngineConfig, Handle, OutOfMemory, Workflow
from engine.networks import steps
from engine.pictures import decoder, edges, scaling
from engine.running import execution, loop
from engine.running.observer import Stage
from tests.requests import small

SIDE = 128
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


class Diary:
    """Writes down the stages as they begin."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        self.entries.append(name)
        yield


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small pictures take as many slices as large ones, each of which takes as long as a step."""
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(decoder, "_WHOLE", 0)
    monkeypatch.setattr(steps, "_UNCUT", 0)
    monkeypatch.setitem(steps.MOST, "cpu", 1 << 23)
    monkeypatch.setattr(edges, "_PIXELS_AT_ONCE", SIDE * SIDE)
    monkeypatch.setattr(execution, "_LONG", -1)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(**nodes: dict[str, Any]) -> Workflow:
    """A graph of the checkpoint, a picture, and these nodes, the last of which makes the pictures that are kept."""
    last = list(nodes)[-1]
    return Workflow.from_comfyui(
        {
            "checkpoint": node("CheckpointLoaderSimple", ckpt_name="tiny"),
            "picture": node("LoadImage", image="picture.png"),
            **nodes,
            "kept": node("SaveImage", images=[last, 0], filename_prefix="x"),
        }
    )


LONG = {
    "decode": graph(
        latents=node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1),
        pixels=node("VAEDecode", samples=["latents", 0], vae=["checkpoint", 2]),
    ),
    "encode": graph(
        latents=node("VAEEncode", pixels=["picture", 0], vae=["checkpoint", 2]),
        smaller=node(
            "LatentUpscale", samples=["latents", 0], upscale_method="area", width=16, height=16, crop="disabled"
        ),
        pixels=node("VAEDecode", samples=["smaller", 0], vae=["checkpoint", 2]),
    ),
    "edges": graph(pixels=node("Canny", image=["picture", 0], low_threshold=0.2, high_threshold=0.6)),
    "lines": graph(
        pixels=node(
            "LineartStandardPreprocessor",
            image=["picture", 0],
            guassian_sigma=6.0,
            intensity_threshold=8,
            resolution=SIDE,
        )
    ),
    "blur": graph(pixels=node("ImageBlur", image=["picture", 0], blur_radius=31, sigma=10.0)),
    "blend": graph(
        other=node("ImageInvert", image=["picture", 0]),
        pixels=node(
            "ImageBlend", image1=["picture", 0], image2=["other", 0], blend_factor=0.5, blend_mode="soft_light"
        ),
    ),
    "short nodes": graph(
        first=node("ImageInvert", image=["picture", 0]),
        mask=node("ImageToMask", image=["first", 0], channel="red"),
        less=node("GrowMask", mask=["mask", 0], expand=-3, tapered_corners=True),
        pixels=node("MaskToImage", mask=["less", 0]),
    ),
    "lanczos": graph(
        pixels=node("ImageScale", image=["picture", 0], upscale_method="lanczos", width=90, height=300, crop="center")
    ),
}


def started(engine: Engine) -> Handle:
    """A request with more steps than anything else here takes time, whose first step is done."""
    started = threading.Event()
    handle = engine.submit(small(steps=10_000), listen=lambda news: started.set() if getattr(news, "step", 0) else None)
    assert started.wait(60)
    return handle


@pytest.fixture
def models(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    (tmp_path / "tiny.safetensors").symlink_to(tiny_checkpoint)
    return tmp_path


def slowly(work: Any, diary: Diary) -> Any:
    """``work``, which does not return before others took some steps."""

    def waiting(*given: Any) -> Any:
        deadline, before = time.monotonic() + 30, len(diary.entries)
        while len(diary.entries) < before + 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        return work(*given)

    return waiting


@pytest.mark.parametrize("what", LONG)
def test_others_advance_meanwhile_and_the_pictures_are_the_same(
    what: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary, inputs = Diary(), {"picture.png": PICTURE}
    config = EngineConfig(checkpoint="tiny", models_folders=[models], device="cpu")
    with Engine(config, observer=diary) as engine:
        alone = engine.generate(LONG[what], inputs=inputs)
        other = started(engine)
        monkeypatch.setattr(scaling, "lanczos_of_bytes", slowly(scaling.lanczos_of_bytes, diary))
        before = len(diary.entries)
        beside = engine.generate(LONG[what], inputs=inputs)
        meanwhile = diary.entries[before:]
        assert not other.done
        other.cancel()
    assert beside.images[0].tobytes() == alone.images[0].tobytes()
    own = [place for place, stage in enumerate(meanwhile) if stage == what]
    assert len(own) > 20 if what in ("decode", "encode") else not own
    assert all("step" in meanwhile[one:another] for one, another in itertools.pairwise(own))
    assert meanwhile.count("step") > 3


def test_a_picture_that_cannot_be_scaled_fails_its_workflow_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise MemoryError("no room for the scaled picture")

    config = EngineConfig(checkpoint="tiny", models_folders=[models], device="cpu")
    with Engine(config) as engine:
        other = engine.submit(small(steps=20))
        monkeypatch.setattr(scaling, "lanczos_of_bytes", broken)
        with pytest.raises(OutOfMemory, match="no room for the scaled picture"):
            engine.generate(LONG["lanczos"], inputs={"picture.png": PICTURE})
        assert other.result(60).images
