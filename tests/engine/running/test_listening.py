"""Hearing of a request's progress without a thread for it, and having checkpoints come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import BrokenCheckpoint, Engine, Handle, Progress, UnknownCheckpoint
from tests.requests import same, small

WAIT = 60


def eventually(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(WAIT * 100):
        if condition():
            return
        pause.wait(0.01)
    raise TimeoutError


class Heard:
    def __init__(self) -> None:
        self.news: list[Progress | None] = []
        self.end = threading.Event()

    def __call__(self, news: Progress | None) -> None:
        self.news.append(news)
        if news is None:
            self.end.set()


def test_a_listener_hears_what_events_tell_and_then_the_end(engine: Engine) -> None:
    heard = Heard()
    handle = engine.submit(small(), listen=heard)
    assert heard.end.wait(WAIT)
    assert handle.done
    assert heard.news == [*handle.events(), None]


@pytest.mark.parametrize("cancel", [True, False])
def test_the_end_is_heard_once_however_it_comes(engine: Engine, cancel: bool) -> None:
    heard = Heard()
    handle = engine.submit(small(steps=300) if cancel else small(width=16384, height=16384), listen=heard)
    if cancel:
        handle.cancel()
        handle.cancel()
    assert heard.end.wait(WAIT)
    engine.generate(small())
    assert heard.news.count(None) == 1


def test_what_comes_after_the_end_is_not_heard() -> None:
    heard = Heard()
    handle = Handle(None, lambda _: None, heard)
    first, late = Progress(stage="sampling", step=1), Progress(stage="sampling", step=2)
    handle.report(first)
    handle.cancel()
    handle.report(late)
    assert heard.news == [first, None]
    assert list(handle.events()) == [first]


def test_a_listener_that_raises_harms_nobody(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    def broken(news: Progress | None) -> None:
        raise RuntimeError("the listener's own trouble")

    handles = [engine.submit(small(seed=seed), listen=broken if seed else None) for seed in range(3)]
    results = [handle.result(WAIT) for handle in handles]
    assert same(results[2], engine.generate(small(seed=2)))
    assert "a listener failed" in caplog.text


def test_checkpoints_come_and_go(open_engine: Callable[..., Engine], models_folder: Path) -> None:
    engine = open_engine(checkpoint=None)
    assert engine.resident() == []
    engine.load("other")
    engine.load("other")
    assert engine.resident() == [models_folder / "other.safetensors"]
    before = engine.generate(small(model="other"))
    assert engine.unload("other")
    assert not engine.unload("other")
    eventually(lambda: engine.resident() == engine.loading() == [])  # the request before lets go just after its end
    assert same(engine.generate(small(model="other")), before)
    for call in (engine.load, engine.unload):
        with pytest.raises(UnknownCheckpoint):
            call("nobody")


def test_a_file_that_cannot_be_loaded_is_told(open_engine: Callable[..., Engine], tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    engine = open_engine(checkpoint=None, models_folders=(tmp_path,))
    with pytest.raises(BrokenCheckpoint):
        engine.load("broken")


def test_a_closed_engine_says_so(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    assert engine.running
    engine.generate(small(steps=3))
    assert (engine.counts["ticks"], engine.counts["evaluations"]) == (3, 3)
    eventually(lambda: engine.counts["in_flight"] == 0)
    engine.close()
    assert not engine.running
