"""Triton's kernels, compiled on many threads before they are first used: one after another takes seconds.

Knows no network and no kernel, and does not need Triton.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from engine.device.container import processors

_log = logging.getLogger(__name__)

_MOST_THREADS = 16

_local = threading.local()


class Kernel:
    """A function of Triton's, ``kernel[grid](…)``, which within ``compiled_ahead`` is not started."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., object]:
        crew: _Crew | None = getattr(_local, "crew", None)
        started: Callable[..., object] = self.function[grid]
        return started if crew is None else functools.partial(crew.compile, self.function, grid)


@contextlib.contextmanager
def compiled_ahead(device: torch.device) -> Iterator[None]:
    """Kernels that this thread starts within are compiled and not run: what they would write is left as it is.

    Ends when all are compiled. One that cannot be is not compiled, and fails where it is used.
    """
    with _Crew(device) as _local.crew:
        try:
            yield
        finally:
            del _local.crew


class _Crew:
    """Threads that compile, each kernel once for each kind of arguments."""

    def __init__(self, device: torch.device) -> None:
        threads = min(_MOST_THREADS, processors() or os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(threads, "compile", _use, (device,))
        self._compiled: dict[Hashable, Future[Any]] = {}

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)
        for compiled in self._compiled.values():
            failure = None if compiled.cancelled() else compiled.exception()
            if failure is not None:
                _log.warning("a kernel is not compiled ahead: %s: %s", type(failure).__name__, failure)

    def compile(self, function: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
        """Have ``function`` compiled for such arguments, if that is not under way."""
        kind = (id(function), tuple(map(_kind, arguments)), tuple(sorted(options.items())))
        if kind not in self._compiled:
            self._compiled[kind] = self._threads.submit(function.warmup, *arguments, grid=grid, **options)


def _use(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _kind(argument: Any) -> Hashable:
    """What Triton makes a kernel of its own for: a tensor's dtype and alignment, whether a number divides by 16."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    if isinstance(argument, int):
        return argument % 16 == 0, argument == 1
    return type(argument).__name__
