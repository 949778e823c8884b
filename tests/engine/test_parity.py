"""The recorded results of a ComfyUI server: the same latents, conditioning and picture, to rounding."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from engine import Engine, EngineConfig, GenerationRequest
from engine.checkpoint import load_checkpoint
from engine.text.conditioning import Conditioner

PACK = Path(__file__).parent.parent / "parity"
CHECKPOINT_SHA256 = "7ebd9ea287022b9ea6df69ff589ce3bf996fbedd022c149cfd9f21421cb77c71"
CASES: list[dict[str, Any]] = json.loads((PACK / "cases.json").read_text())
REQUESTS = {
    case["name"]: GenerationRequest(
        **{"cfg_scale" if name == "cfg" else name: value for name, value in case.items() if name != "name"}
    )
    for case in CASES
}


@pytest.fixture(scope="module")
def narrow_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "narrow.safetensors"
    subprocess.run([sys.executable, PACK / "make_checkpoint.py", path], check=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHECKPOINT_SHA256
    return path


@pytest.fixture(scope="module")
def engine(narrow_checkpoint: Path) -> Iterator[Engine]:
    with Engine(EngineConfig(checkpoint=narrow_checkpoint, device="cpu", dtype="float32")) as engine:
        yield engine


def relative_error(found: torch.Tensor, reference: torch.Tensor) -> float:
    assert found.shape == reference.shape
    return float((found - reference).norm() / reference.norm())


@pytest.mark.parametrize("name", REQUESTS)
def test_latents_and_picture(engine: Engine, name: str) -> None:
    result = engine.generate(REQUESTS[name])
    assert relative_error(result.latents, load_file(PACK / "latents.safetensors")[name]) <= 5e-6
    pictures = load_file(PACK / "image.safetensors")
    if name in pictures:
        found = numpy.asarray(result.images[0]).astype(int)
        assert abs(found - pictures[name][0].numpy()).max() <= 1


def test_conditioning(narrow_checkpoint: Path) -> None:
    encoder = load_checkpoint(narrow_checkpoint, device=torch.device("cpu"), dtype=torch.float32).text_encoder
    conditioner = Conditioner(encoder)
    for name, reference in load_file(PACK / "conditioning.safetensors").items():
        request = REQUESTS[name]
        assert relative_error(conditioner.encode(request.prompt, request.clip_skip), reference) <= 1e-6, name
