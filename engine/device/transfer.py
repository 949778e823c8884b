"""Tensors on their way to the device and back, what runs beside, and how far the host runs ahead. Knows no networks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return ``tensor``, which is on the CPU, on ``device``, without waiting for earlier work on the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Lead:
    """Keeps the host one piece of work ahead of the device, so that neither waits for long.

    Without it, the host would queue up seconds of work, and new requests would wait behind it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._latest: torch.cuda.Event | None = None

    def mark(self) -> None:
        """A piece of work is launched: wait until the one before it is done."""
        if self._device.type != "cuda":
            return
        before, self._latest = self._latest, torch.cuda.Event(blocking=True)
        self._latest.record(torch.cuda.current_stream(self._device))
        if before is not None:
            before.synchronize()

    def finish(self) -> None:
        """Wait until all that was launched is done."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()


class Aside:
    """A CUDA stream beside the one that samples, so that neither queues behind the other. On a CPU it is nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """What is launched within is done at the end, and begins after what was launched before.

        Memory that it takes may have been another checkpoint's, which work launched before may still read.
        """
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield
        self._stream.synchronize()


class Fetch:
    """Starts copying ``tensor`` to the CPU. On a CPU the copy is there at once."""

    def __init__(self, tensor: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._value = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._value.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(tensor.device))
        else:
            self._value = tensor.cpu()

    def ready(self) -> bool:
        """Return whether ``value`` would return without waiting."""
        return self._event is None or self._event.query()

    def value(self) -> Tensor:
        """Return the tensor on the CPU; waits for it."""
        if self._event is not None:
            self._event.synchronize()
        return self._value


class Errand(Generic[T]):
    """Starts computing ``work()`` on a thread of its own, which is for what neither torch nor the device does."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._made: Future[T] = Future()
        threading.Thread(target=self._run, args=(work,), name="errand", daemon=True).start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._made.set_result(work())
        except BaseException as error:
            self._made.set_exception(error)

    def ready(self) -> bool:
        """Return whether ``value`` would return without waiting."""
        return self._made.done()

    def value(self) -> T:
        """Return what was computed; waits for it. Raises what ``work`` raised."""
        return self._made.result()
