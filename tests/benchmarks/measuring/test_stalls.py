"""Stalls: the longest time between two steps of one caller, while another one has each task done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

import pytest

from benchmarks.measuring.stalls import Task, Watch, observe_stall
from benchmarks.measuring.workloads import Scale, alone
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.synthetic_checkpoint import NARROW, synthetic_checkpoint
from benchmarks.subjects.synthetic_parts import Parts, synthetic_parts

SIDE = 128


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("narrow")
    return synthetic_parts(synthetic_checkpoint(folder / "narrow.safetensors", NARROW), SIDE // 8, folder)


@pytest.fixture(scope="module")
def subject(parts: Parts) -> Iterator[EngineSubject]:
    opened = EngineSubject(
        name="engine",
        checkpoint=parts.folder.parent / "narrow.safetensors",
        device="cpu",
        dtype="float32",
        settings={"models_folders": [str(parts.folder)]},
        inputs=parts.folder,
    )
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("task", get_args(Task))
def test_steps_are_watched_before_and_during_each_task(task: Task, subject: EngineSubject, parts: Parts) -> None:
    stall = observe_stall(subject, task, alone(Scale(size=64, steps=4), 1), SIDE, parts.lora)
    assert len(stall.usual) >= 5
    assert stall.gap > 0
    assert 0 <= stall.processor_gap <= stall.gap + 0.05  # two clocks
    assert stall.seconds > 0


def test_what_lies_between_two_steps_is_the_gap() -> None:
    watch = Watch()
    with watch.stage("step"):
        time.sleep(0.001)
    with watch.stage("decode"):
        time.sleep(0.02)
    with watch.stage("step"):
        pass
    ((gap, processor),) = watch.gaps
    assert gap >= 0.02
    assert processor < gap  # it slept
    assert len(watch.steps) == 2
