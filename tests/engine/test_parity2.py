"""Graphs that ComfyUI has carried out on the same synthetic checkpoint: every recorded value is met, to rounding."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig, Workflow
from engine.workflow.workflow import Place
from tests.pack import CASES, CHECKPOINT, Case

PACK = Path(__file__).parent.parent / "parity"
PROBES = 1e-5
"""The relative error of what is recorded on the way, or the case's ``floor`` where that is more: ``custom_flip``
samples backwards, which magnifies rounding, and the recorded ComfyUI itself moves by 1.3e-5 there."""

_EACH = 5
"""Of so many cases one is run by ``make test``; CI runs all."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("parity2")
    subprocess.run([sys.executable, PACK / "make_checkpoint.py", folder / CHECKPOINT], check=True)
    with Engine(EngineConfig(models_folders=(folder,), device="cpu", dtype="float32")) as engine:
        yield engine


def relative_error(found: Tensor, reference: Tensor) -> float:
    assert found.shape == reference.shape
    return float((found - reference).norm() / reference.norm())


def difference(found: Any, reference: Tensor) -> int:
    """How far apart the pixels of two batches of pictures are at most."""
    pixels = torch.from_numpy(numpy.stack([numpy.asarray(image) for image in found])).int()
    return int((pixels - reference.int()).abs().max())


def _named(number: int, case: Case) -> Any:
    marks = () if number % _EACH == 0 else pytest.mark.slow
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [_named(number, case) for number, case in enumerate(CASES.values())])
def test_every_recorded_value_is_met(engine: Engine, case: Case) -> None:
    places: list[Place] = list(dict.fromkeys([*case.records.values(), *case.probes.values()]))
    kept = engine.generate(Workflow.from_comfyui(case.graph), keep=places).kept
    for kind, place in case.records.items():
        if kind == "image":
            assert difference(kept[place], case.record(kind)) <= 1
        else:
            bound = case.tolerance if kind == "latents" else 1e-5
            assert relative_error(kept[place], case.record(kind)) <= bound, kind
    for label, place in case.probes.items():
        assert relative_error(kept[place], case.probe(label)) <= max(PROBES, case.floor), label
