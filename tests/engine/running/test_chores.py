"""Chores run one at a time while no request waits; they prepare, and change no result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, EngineConfig
from engine.batching import trials as trials_module
from engine.networks.hints import Hints
from engine.running import chores as warm_up_module
from engine.running.chores import chores
from engine.running.loading import source_of
from engine.running.residents import Tools
from engine.running.residents import checkpoints as loading_module
from engine.workflow.models import Checkpoint
from tests.engine.networks.test_graphs import FakeRecorder
from tests.requests import same, small

SMALL = 8
"""Cells of the pictures that chores are about here."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines on the CPU have recorders, as on a GPU."""
    monkeypatch.setattr(Tools, "_recorder", lambda self: FakeRecorder())
    monkeypatch.setattr(warm_up_module, "CELLS", SMALL)


def settled(engine: Engine) -> int:
    """The shapes that were prepared, once there is nothing left to do."""
    deadline = time.monotonic() + 60
    while (engine._loop._chores or not engine._loop._inbox.empty()) and time.monotonic() < deadline:
        time.sleep(0.01)
    done = threading.Event()
    engine._loop._inbox.put(done.set)
    assert done.wait(60)
    return engine.counts["shapes"]


def named(chore: Any) -> Any:
    return chore.keywords["shape"][0] if hasattr(chore, "keywords") else chore.__name__


def test_what_everybody_needs_comes_first_and_what_is_remembered_last() -> None:
    order = chores((2, 4, 8), [(6, 6, 9, 9, 77), (4, 2, 64, 64, 77), (2, 1, 64, 64, 154)])
    assert [named(chore) for chore in order[::2]] == ["_encode", 2, "_decode", 8, 4, 2, 8, 4, 6, 2]
    assert order[::2] == order[1::2]


@pytest.mark.usefixtures("recorded")
def test_a_warm_engine_meets_nothing_new(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(unet_rows=4)
    warm = settled(engine)
    assert warm >= 2 + 2 + 2 + 3  # each network twice; the larger call's trial, first call and recording
    for handle in [engine.submit(small(seed=seed, prompt="", negative_prompt="")) for seed in range(2)]:
        handle.result(60)
    assert engine.counts["shapes"] == warm
    (model,) = engine._pool.acquire(source_of(Checkpoint(name=str(engine.resident()[0])))).resident.result()
    assert len(model.denoiser._calls._graphs) == 4  # of two sizes, for pictures with guidance and without


@pytest.mark.usefixtures("recorded")
def test_results_do_not_depend_on_chores(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)
    warm = open_engine(unet_rows=4)
    settled(warm)
    requests = [small(seed=seed, prompt=prompt) for seed, prompt in enumerate(["a cat", "", "dogs " * 90])]
    for handle, request in zip([warm.submit(request) for request in requests], requests, strict=True):
        assert same(handle.result(60), engine.generate(request))


@pytest.mark.parametrize("settings", [{}, {"compile": "off"}])
def test_without_graphs_there_are_no_chores(open_engine: Callable[..., Engine], settings: dict[str, str]) -> None:
    engine = open_engine(unet_rows=4, **settings)
    assert settled(engine) == 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Six chores that each note themselves and wait for the test to let them end."""
    done: list[Any] = []
    permits = threading.Semaphore(0)
    done.append(permits)

    def chore(model: Any) -> None:
        done.append("chore")
        assert permits.acquire(timeout=30)

    monkeypatch.setattr(loading_module, "chores", lambda sizes, shapes: [chore] * 6)
    yield done
    permits.release(100)


@pytest.mark.usefixtures("recorded")
def test_a_request_waits_for_one_chore_at_most(gate: list[Any], open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    while gate[1:] != ["chore"]:
        time.sleep(0.001)
    handle = engine.submit(small())
    gate[0].release()
    handle.result(60)  # although no other chore may end
    assert len(gate) <= 3
    gate[0].release(100)
    settled(engine)
    assert gate[1:] == ["chore"] * 6


@pytest.mark.usefixtures("recorded")
def test_a_model_that_is_unloaded_has_no_chores(gate: list[Any], open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    while gate[1:] != ["chore"]:
        time.sleep(0.001)
    assert engine.unload("tiny")
    gate[0].release(100)
    settled(engine)
    assert gate[1:] == ["chore"]


@pytest.mark.usefixtures("recorded")
def test_a_chore_that_fails_is_dropped(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def broken(model: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(loading_module, "chores", lambda sizes, shapes: [broken, lambda model: done.set()])
    engine = open_engine()
    assert done.wait(30)
    assert engine.generate(small()).images
    assert [record.getMessage() for record in caplog.records if "chore" in record.getMessage()] == [
        "a chore is dropped: RuntimeError: no such kernel"
    ]


@pytest.mark.usefixtures("recorded")
def test_calls_of_earlier_processes_are_made_ready(models_folder: Path, tmp_path: Path) -> None:
    config = EngineConfig(checkpoint="tiny", models_folders=(models_folder,), device="cpu", cache_folder=tmp_path)
    with Engine(config) as engine:
        plain = settled(engine)
        engine.generate(small(width=96))
    for thread in threading.enumerate():
        if thread.name == "hints":
            thread.join()
    with Engine(config) as engine:
        warm = settled(engine)
        assert warm > plain
        engine.generate(small(width=96, prompt="", negative_prompt=""))
        assert engine.counts["shapes"] == warm + 1  # the decoder's


@pytest.mark.usefixtures("recorded")
def test_remembered_calls_that_no_call_is_like_are_passed_over(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "shapes", [(3, 8, 8, 77), (64, 8, 8, 77)])
    with_them = settled(open_engine(unet_rows=4))
    monkeypatch.setattr(Hints, "shapes", [])
    assert with_them == settled(open_engine(unet_rows=4))
