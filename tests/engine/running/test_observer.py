"""What an engine reports to its observer: the stages of each request, in order, and only those that it carries out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Engine, EngineConfig, GenerationFailed
from engine.running.observer import Stage
from tests.requests import small


class Diary:
    """Writes down what begins and what ends."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        self.entries.append(f"{name} begins")
        yield
        self.entries.append(f"{name} ends")


def test_an_engine_reports_each_stage_of_a_request(tiny_checkpoint: Path) -> None:
    diary = Diary()
    with Engine(EngineConfig(checkpoint=tiny_checkpoint, device="cpu"), observer=diary) as engine:
        assert diary.entries == []
        engine.generate(small(steps=2, batch_size=2))
    stages = ["encode", "encode", *["step"] * 4, "decode", "decode"]  # a call on a CPU is for one picture
    assert diary.entries == [f"{stage} {what}" for stage in stages for what in ("begins", "ends")]


def test_an_observed_engine_makes_the_same_picture(tiny_checkpoint: Path) -> None:
    config = EngineConfig(checkpoint=tiny_checkpoint, device="cpu")
    with Engine(config) as plain, Engine(config, observer=Diary()) as observed:
        one, other = (engine.generate(small()).images[0].tobytes() for engine in (plain, observed))
    assert one == other


def test_an_observer_that_fails_fails_that_request(tiny_checkpoint: Path) -> None:
    class Broken(Diary):
        broken = True

        @contextmanager
        def stage(self, name: Stage) -> Iterator[None]:
            if self.broken:
                raise RuntimeError("no room for another entry")
            yield

    observer = Broken()
    with Engine(EngineConfig(checkpoint=tiny_checkpoint, device="cpu"), observer=observer) as engine:
        with pytest.raises(GenerationFailed, match="no room for another entry"):
            engine.generate(small())
        observer.broken = False
        assert engine.generate(small()).images
