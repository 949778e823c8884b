"""What goes with a checkpoint fits it, and diffusers' pipelines make of it what the engine makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.measuring.features import PICTURE, Feature, request_for
from benchmarks.measuring.likeness import psnr
from benchmarks.measuring.workloads import Scale, alone
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.diffusers_features import DiffusersFeaturesSubject
from benchmarks.subjects.synthetic_checkpoint import NARROW, synthetic_checkpoint
from benchmarks.subjects.synthetic_parts import Parts, synthetic_parts
from engine.checkpoint.adapters import open_adapter
from engine.checkpoint.controlnet import inspect_control
from engine.checkpoint.structure import structures_of
from engine.folders import SHIPPED_MODELS

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers
    pytest.mark.filterwarnings("ignore:.*peft.*"),
]

SCALE = Scale(size=64, steps=4)
STARTER = SHIPPED_MODELS / "starter.safetensors"
ROUNDED = 49
"""Equal pictures differ by 51 dB if one rounds its pixels and the other truncates them."""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_checkpoint(tmp_path_factory.mktemp("narrow") / "narrow.safetensors", NARROW)


@pytest.fixture(scope="module")
def parts(narrow: Path) -> Parts:
    return synthetic_parts(narrow, SCALE.size, narrow.parent)


@pytest.fixture(scope="module")
def ours(narrow: Path, parts: Parts) -> Iterator[EngineSubject]:
    subject = EngineSubject(
        name="engine",
        checkpoint=narrow,
        device="cpu",
        dtype="float32",
        settings={"models_folders": [str(parts.folder)]},
        inputs=parts.folder,
    )
    subject.open()
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def theirs(narrow: Path, parts: Parts) -> Iterator[DiffusersFeaturesSubject]:
    pytest.importorskip("peft")
    subject = DiffusersFeaturesSubject(
        name="peer", checkpoint=narrow, device="cpu", dtype="float32", folder=parts.folder
    )
    subject.open()
    yield subject
    subject.close()


def test_a_lora_and_a_controlnet_fit_their_checkpoint(narrow: Path, parts: Parts) -> None:
    structures = structures_of(narrow)
    adapter = open_adapter(parts.lora, structures, names="all")
    assert not adapter.unknown
    attention = [name for name in structures["unet"].shapes if name.endswith(("to_q.weight", "ff.net.2.weight"))]
    assert set(attention) <= set(adapter.changes_of["unet"])
    assert adapter.changes_of["text_encoder"]
    control = inspect_control(parts.controlnet)
    assert control.blueprint.widths == structures["unet"].widths


def test_parts_that_are_there_are_used_as_they_are(narrow: Path, parts: Parts) -> None:
    before = parts.lora.stat().st_mtime_ns
    again = synthetic_parts(narrow, SCALE.size, narrow.parent)
    assert again == parts
    assert parts.lora.stat().st_mtime_ns == before


@pytest.mark.parametrize("feature", ["LoRA's first use", "LoRA resident", "ControlNet", "hires"])
def test_the_peer_makes_the_engines_picture(
    feature: Feature, ours: EngineSubject, theirs: DiffusersFeaturesSubject
) -> None:
    request, plain = request_for(feature, SCALE, 1), alone(SCALE, 1)
    picture = ours.paint(request).pixels
    assert psnr(picture, theirs.paint(request).pixels) > ROUNDED
    if request.hires is None:
        assert psnr(picture, ours.paint(plain).pixels) < 30


@pytest.mark.parametrize("feature", ["img2img", "inpaint"])
def test_the_peer_starts_from_the_picture(feature: Feature, parts: Parts) -> None:
    """One small step leads hardly away from it; the starter's VAE gives pictures back."""
    pytest.importorskip("peft")
    request = dataclasses.replace(request_for(feature, SCALE, 1), steps=1, denoise=0.01)
    peer = DiffusersFeaturesSubject(name="peer", checkpoint=STARTER, device="cpu", dtype="float32", folder=parts.folder)
    peer.open()
    try:
        near, far = (peer.paint(each).pixels for each in (request, dataclasses.replace(request, denoise=1.0, steps=2)))
    finally:
        peer.close()
    with Image.open(parts.folder / PICTURE) as image:
        given = np.asarray(image)
    assert psnr(near, given) > psnr(far, given) + 5


def test_a_lora_that_is_forgotten_is_not_in_the_next_picture(
    ours: EngineSubject, theirs: DiffusersFeaturesSubject, parts: Parts
) -> None:
    for subject in (ours, theirs):
        subject.paint(request_for("LoRA resident", SCALE, 1))
        subject.forget(parts.lora)
    assert not [source for source in ours.engine._pool.resident() if source.bases]
    assert psnr(ours.paint(alone(SCALE, 1)).pixels, theirs.paint(alone(SCALE, 1)).pixels) > ROUNDED
