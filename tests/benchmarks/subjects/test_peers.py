"""Peers compute the same picture, are driven by their own interfaces, and say why they cannot run."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.measuring.likeness import MOST, psnr
from benchmarks.measuring.workloads import SAMPLERS, Scale, alone
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.subjects.peers.diffusers import DiffusersSubject
from benchmarks.subjects.peers.stable_diffusion_cpp import StableDiffusionCppSubject
from benchmarks.subjects.subject import GivenUp, NotHere
from benchmarks.subjects.synthetic_checkpoint import NARROW, synthetic_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers

SCALE = Scale(size=64, steps=4)
SERVER = Path(__file__).parent / "comfyui_server.py"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_checkpoint(tmp_path_factory.mktemp("narrow") / "narrow.safetensors", NARROW)


@pytest.fixture(scope="module")
def stock(narrow: Path) -> Iterator[DiffusersSubject]:
    subject = DiffusersSubject(name="stock", checkpoint=narrow, device="cpu", dtype="float32")
    subject.open()
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def ours(narrow: Path) -> Iterator[EngineSubject]:
    subject = EngineSubject(name="engine", checkpoint=narrow, device="cpu", dtype="float32")
    subject.open()
    yield subject
    subject.close()


def test_stock_diffusers_makes_the_engines_picture(stock: DiffusersSubject, ours: EngineSubject) -> None:
    one, two = alone(SCALE, 1), alone(SCALE, 2)
    # equal pictures differ by 51 dB if one rounds its pixels and the other truncates them
    assert psnr(stock.paint(one).pixels, ours.paint(one).pixels) > 49
    assert psnr(stock.paint(one).pixels, ours.paint(two).pixels) < 30


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_stock_diffusers_has_the_samplers_of_the_mix(stock: DiffusersSubject, sampler: str) -> None:
    picture = stock.paint(dataclasses.replace(alone(SCALE, 0), sampler=sampler))
    assert picture.pixels.shape == (64, 64, 3)
    assert picture.pixels.std() > 0


def test_compiling_is_for_gpus(narrow: Path) -> None:
    best = DiffusersSubject(
        name="best", checkpoint=narrow, device="cpu", dtype="float32", compiled="max-autotune", scale=SCALE
    )
    assert best.absent() is not None
    assert "max-autotune" in best.includes


def test_likeness_is_in_decibels() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(grey, grey) == MOST
    assert psnr(grey, grey + np.uint8(1)) == pytest.approx(48.13, abs=0.01)
    assert psnr(np.zeros_like(grey), np.full_like(grey, 255)) == 0


def comfyui(folder: Path, checkpoint: Path, **fields: Any) -> ComfyuiSubject:
    return ComfyuiSubject(
        name="ComfyUI", checkpoint=checkpoint, device="cpu", dtype="float32", folder=folder, patience=60.0, **fields
    )


def test_comfyui_is_started_and_driven_through_its_api(tmp_path: Path, narrow: Path) -> None:
    (tmp_path / "main.py").write_text(SERVER.read_text())
    subject = comfyui(tmp_path, narrow)
    assert subject.absent() is None
    subject.open()
    try:
        request = alone(Scale(size=16, steps=2), 7)
        assert request.seed is not None
        assert subject.paint(request).pixels[0, 0].tolist() == [request.seed % 10, 128, 128]
        assert subject.record()["comfyui_version"] == "0.0.1"
        assert {"--cpu", "--force-fp32"} <= set(subject._stats["system"]["argv"])
    finally:
        subject.close()


def test_comfyui_gives_up_what_is_under_way(tmp_path: Path, narrow: Path) -> None:
    (tmp_path / "main.py").write_text(SERVER.read_text())
    subject = comfyui(tmp_path, narrow)
    subject.open()
    ended = []

    def paint() -> None:
        with pytest.raises(GivenUp):
            subject.paint(alone_forever())
        ended.append(True)

    thread = threading.Thread(target=paint)
    thread.start()
    while thread.is_alive():
        subject.give_up()
    subject.close()
    assert ended == [True]


def alone_forever() -> Any:
    return dataclasses.replace(alone(Scale(size=16, steps=2), 7), prompt="never")


def test_a_comfyui_that_does_not_start_says_why(tmp_path: Path, narrow: Path) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('a requirement is missing')")
    with pytest.raises(NotHere, match=r"status 1: .*a requirement is missing"):
        comfyui(tmp_path, narrow).open()
    assert "not a ComfyUI checkout" in str(comfyui(tmp_path / "nowhere", narrow).absent())


def test_a_workflow_that_comfyui_refuses_is_reported(tmp_path: Path, narrow: Path) -> None:
    (tmp_path / "main.py").write_text(SERVER.read_text())
    elsewhere = narrow.with_name("gone.safetensors")
    subject = comfyui(tmp_path, elsewhere)
    subject.open()
    try:
        with pytest.raises(RuntimeError, match=r"no gone\.safetensors"):
            subject.paint(alone(SCALE, 0))
    finally:
        subject.close()


class _Library:
    """Has what the subject uses of the package stable_diffusion_cpp."""

    asked: dict[str, Any]

    def __init__(self, model_path: str, wtype: str, n_threads: int, rng_type: str, verbose: bool) -> None:
        self.opened = (Path(model_path).name, wtype, rng_type)

    def generate_image(self, **asked: Any) -> list[Image.Image]:
        type(self).asked = asked
        return [Image.new("RGB", (asked["width"], asked["height"]))]


def cpp(checkpoint: Path) -> StableDiffusionCppSubject:
    return StableDiffusionCppSubject(name="cpp", checkpoint=checkpoint, device="cpu", dtype="float16")


def test_stable_diffusion_cpp_is_asked_for_the_same_picture(monkeypatch: pytest.MonkeyPatch, narrow: Path) -> None:
    module = SimpleNamespace(StableDiffusion=_Library, __spec__=object())
    monkeypatch.setitem(sys.modules, "stable_diffusion_cpp", module)  # type: ignore[arg-type]
    subject = cpp(narrow)
    assert subject.absent() is None
    subject.open()
    request = alone(SCALE, 3)
    assert subject.paint(request).pixels.shape == (64, 64, 3)
    assert subject._model.opened == (narrow.name, "f16", "cpu")
    asked = _Library.asked
    assert (asked["seed"], asked["sample_steps"], asked["cfg_scale"]) == (request.seed, 4, 8.0)
    assert (asked["sample_method"], asked["scheduler"]) == ("euler", "discrete")
    subject.close()


def test_stable_diffusion_cpp_may_be_missing(monkeypatch: pytest.MonkeyPatch, narrow: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "is not installed" in str(cpp(narrow).absent())
