"""Kernels that are compiled ahead: each once for each kind of arguments, none started, no other caller's touched."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.networks.compiling import Kernel, compiled_ahead

CPU = torch.device("cpu")


class FakeFunction:
    """What Triton makes of a function: started by ``[grid](…)``, only compiled by ``warmup``."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.started: list[tuple[Any, ...]] = []
        self.compiled: list[tuple[Any, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **options: self.started.append((grid, *arguments, options))

    def warmup(self, *arguments: Any, grid: tuple[int, ...], **options: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.compiled.append((grid, *arguments, options))


def test_a_kernel_is_started() -> None:
    function = FakeFunction()
    Kernel(function)[(2, 3)](1, 2.0, WIDTH=4)
    assert function.started == [((2, 3), 1, 2.0, {"WIDTH": 4})]
    assert function.compiled == []


def test_ahead_it_is_compiled_and_not_started() -> None:
    function, x = FakeFunction(), torch.zeros(16)
    with compiled_ahead(CPU):
        Kernel(function)[(2,)](x, None, 7, WIDTH=4)
    assert (len(function.compiled), function.started) == (1, [])
    Kernel(function)[(2,)](x, None, 7, WIDTH=4)
    assert len(function.started) == 1


def test_each_kind_of_arguments_is_compiled_once() -> None:
    function, x = FakeFunction(), torch.zeros(64)
    with compiled_ahead(CPU):
        alike = [(x, 7, 4), (x, 9, 4), (x[32:], 7, 4)]
        others = [(x.half(), 7, 4), (x[1:], 7, 4), (None, 7, 4), (x, 16, 4), (x, 1, 4), (x, 7, 8)]
        for given, count, width in alike + others:
            Kernel(function)[(2,)](given, count, WIDTH=width)
    assert len(function.compiled) == 7


def test_kernels_are_compiled_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.networks.compiling.processors", lambda: 2)
    both = threading.Barrier(2, timeout=30)
    functions = [FakeFunction(), FakeFunction()]
    for function in functions:
        monkeypatch.setattr(function, "warmup", lambda *_, grid: both.wait())
    with compiled_ahead(CPU):
        for function in functions:
            Kernel(function)[(1,)](5)
    assert not both.broken


def test_what_waits_is_not_compiled_once_something_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.networks.compiling.processors", lambda: 1)
    started = threading.Event()
    first, second = FakeFunction(), FakeFunction()
    monkeypatch.setattr(first, "warmup", lambda *_, grid: (started.set(), time.sleep(0.2)))

    def go_wrong() -> None:
        with compiled_ahead(CPU):
            Kernel(first)[(1,)](5)
            Kernel(second)[(1,)](5)
            assert started.wait(30)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        go_wrong()
    assert second.compiled == []


def test_other_threads_start_theirs() -> None:
    function = FakeFunction()
    with compiled_ahead(CPU):
        thread = threading.Thread(target=lambda: Kernel(function)[(1,)](5))
        thread.start()
        thread.join()
    assert (len(function.started), function.compiled) == (1, [])


def test_one_that_cannot_be_compiled_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = FakeFunction(), FakeFunction(RuntimeError("no such instruction"))
    with caplog.at_level(logging.WARNING), compiled_ahead(CPU):
        Kernel(bad)[(1,)](5)
        Kernel(good)[(1,)](5)
    assert len(good.compiled) == 1
    assert ["no such instruction" in record.getMessage() for record in caplog.records] == [True]


def test_what_goes_wrong_within_comes_out_and_kernels_start_again() -> None:
    function = FakeFunction()
    with pytest.raises(ValueError, match="another thing"), compiled_ahead(CPU):
        raise ValueError("another thing")
    Kernel(function)[(1,)](5)
    assert len(function.started) == 1
