"""Synthetic checkpoints have the layout that the engine reads; their work is counted correctly."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.measuring.floor import Ceilings, count_work, floor_rate, floor_seconds
from benchmarks.subjects.synthetic_checkpoint import FULL, NARROW, Widths, shapes, synthetic_checkpoint
from engine.checkpoint import inspect_checkpoint
from tests.loading import load


def hollow(path: Path, widths: Widths) -> Path:
    """Write the file without its values, as a sparse file."""
    header, place = {}, 0
    for name, shape in shapes(widths):
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)
    return path


def test_the_full_size_is_that_of_stable_diffusion(tmp_path: Path) -> None:
    facts = inspect_checkpoint(hollow(tmp_path / "full.safetensors", FULL))
    assert facts.unet_widths == (320, 640, 1280, 1280)
    assert facts.vae_widths == (128, 256, 512, 512)
    assert (facts.context_width, facts.text_layers) == (768, 12)
    assert facts.parameters == 1_066_235_307


def test_a_narrow_checkpoint_loads_and_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = (synthetic_checkpoint(tmp_path / f"{name}.safetensors", NARROW) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    unet = load(one).unet
    weights = [weight for weight in unet.parameters() if weight.ndim > 1]
    assert all(0.5 < float(weight.std()) * math.sqrt(weight[0].numel()) < 1.5 for weight in weights)
    assert not list(tmp_path.glob("*.partial"))


def test_an_existing_file_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "there.safetensors"
    path.write_bytes(b"something")
    assert synthetic_checkpoint(path, FULL).read_bytes() == b"something"


def test_the_work_of_a_full_size_picture(tmp_path: Path) -> None:
    work = count_work(hollow(tmp_path / "full.safetensors", FULL), 512)
    assert work.step == pytest.approx(1.607e12, rel=1e-3)
    assert work.decode == pytest.approx(2.515e12, rel=1e-3)
    assert work.encode == pytest.approx(0.027e12, rel=2e-2)
    assert work.picture(20) == pytest.approx(34.7e12, rel=1e-3)
    assert work.unet_parameters == 859_520_964


def test_floors_follow_from_work_and_machine(tmp_path: Path) -> None:
    work = count_work(hollow(tmp_path / "full.safetensors", FULL), 512)
    card = Ceilings(matmul=71e12, bandwidth=936e9)
    assert floor_seconds(work, card, 20, 2) == pytest.approx(0.488, abs=0.002)
    assert floor_rate(work, card, 20) == pytest.approx(2.05, abs=0.01)
    slow_memory = Ceilings(matmul=71e12, bandwidth=1.72e9)  # it takes a second to read the weights
    assert floor_seconds(work, slow_memory, 20, 2) == pytest.approx(20, abs=0.2)


def test_values_are_float16(tmp_path: Path) -> None:
    assert load(synthetic_checkpoint(tmp_path / "n.safetensors", NARROW), torch.float16).dtype == torch.float16
