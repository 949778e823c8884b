"""The engine of another checkout runs in a process of its own and makes its own pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring.callers import paint_timed
from benchmarks.measuring.workloads import Scale, alone
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.earlier import EarlierEngineSubject
from benchmarks.subjects.subject import GivenUp, NotHere

ROOT = Path(__file__).resolve().parents[3]
SCALE = Scale(size=64, steps=3)


def earlier(folder: Path, checkpoint: Path) -> EarlierEngineSubject:
    return EarlierEngineSubject(name="earlier", checkpoint=checkpoint, device="cpu", dtype="float32", folder=folder)


@pytest.fixture(scope="module")
def subject(tiny_checkpoint: Path) -> Iterator[EarlierEngineSubject]:
    """This checkout in the place of another version."""
    made = earlier(ROOT, tiny_checkpoint)
    assert made.absent() is None
    made.open()
    yield made
    made.close()


def test_it_makes_the_picture_of_its_engine(subject: EarlierEngineSubject, tiny_checkpoint: Path) -> None:
    here = EngineSubject(name="engine", checkpoint=tiny_checkpoint, device="cpu", dtype="float32")
    here.open()
    one, other = here.paint(alone(SCALE, 1)), subject.paint(alone(SCALE, 1))
    here.close()
    assert np.array_equal(one.pixels, other.pixels)
    assert other.sampling is not None
    assert other.sampling > 0
    assert "torch" in str(other.record)


def test_it_counts_evaluations(subject: EarlierEngineSubject) -> None:
    before = subject.counts()["evaluations"]
    subject.paint(alone(SCALE, 2))
    assert subject.counts()["evaluations"] - before == SCALE.steps


def test_cpu_time_of_its_process_counts(subject: EarlierEngineSubject) -> None:
    timed = paint_timed(subject, alone(Scale(size=256, steps=10), 3))
    assert timed.processor_seconds > 0.01


def test_it_gives_up_pictures_in_progress(subject: EarlierEngineSubject) -> None:
    ended = []

    def paint() -> None:
        with pytest.raises(GivenUp):
            subject.paint(alone(Scale(size=64, steps=10_000), 4))
        ended.append(True)

    thread = threading.Thread(target=paint)
    thread.start()
    while thread.is_alive():
        subject.give_up()
        thread.join(0.05)
    assert ended == [True]
    assert subject.paint(alone(SCALE, 5)).pixels.shape == (64, 64, 3)


def test_a_failure_in_its_process_is_reported(subject: EarlierEngineSubject) -> None:
    with pytest.raises(RuntimeError, match=r"TypeError: .*colour"):
        subject._ask("make", {"colour": 3})


def test_a_folder_without_an_engine_is_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    assert "not a checkout of this project" in str(earlier(tmp_path, tiny_checkpoint).absent())


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_reported(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit(7)")
    subject = earlier(tmp_path, tiny_checkpoint)
    with pytest.raises(NotHere, match="ended with status 7"):
        subject.open()
