"""The most memory that was in use is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measuring.memory import memory_now, peak_memory
from benchmarks.measuring.workloads import Alone, Mixed, Scale
from benchmarks.subjects.engine import EngineSubject

SCALE = Scale(size=64, steps=3)


@pytest.fixture(scope="module")
def subject(tiny_checkpoint: Path) -> EngineSubject:
    made = EngineSubject(name="engine", checkpoint=tiny_checkpoint, device="cpu", dtype="float32")
    made.open()
    return made


@pytest.mark.parametrize("clients", [1, 3])
def test_peak_and_present_memory_are_plausible(subject: EngineSubject, clients: int) -> None:
    source = Alone(SCALE, 20) if clients == 1 else Mixed(SCALE, 0)
    most = peak_memory(subject, source, clients, seconds=0.2)
    now = memory_now(subject)
    assert most.process > 2**27
    assert now.process > 2**27
    assert most.device is now.device is None
