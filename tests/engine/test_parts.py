"""The README's thirty lines, from text to picture by the engine's own parts, give what the engine gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from engine import Engine, EngineConfig, GenerationRequest
from engine.folders import SHIPPED_MODELS

README = Path(engine.__file__).parent / "README.md"


def _lines() -> str:
    section = README.read_text().split("\n## Thirty lines from the engine's own parts\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(block)


def test_the_parts_alone_give_the_engines_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(_lines(), made)  # what a reader would run
    request = GenerationRequest(
        prompt="a lighthouse at dawn",
        negative_prompt="night",
        cfg_scale=6,
        sampler="euler_ancestral",
        scheduler="karras",
        steps=4,
        seed=7,
        width=64,
        height=64,
    )
    config = EngineConfig(checkpoint=SHIPPED_MODELS / "starter.safetensors", device="cpu", dtype="float32")
    with Engine(config) as whole:
        result = whole.generate(request)
    assert torch.equal(made["latents"], result.latents)
    assert made["pixels"].numpy().tobytes() == result.images[0].tobytes()
    assert (tmp_path / "lighthouse.png").is_file()
