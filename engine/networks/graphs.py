"""A function of tensors, launched as one: a CUDA graph for each set of shapes and dtypes. Knows no network.

On a GPU, a network that is run operation by operation waits for the host; a graph replays the same kernels at once.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from engine.device.memory import out_of_memory, release_cached

_log = logging.getLogger(__name__)

_MOST_GRAPHS = 24
_MOST_SEEN = 256

_CALLS_TO_RECORD = 2
"""Which call of a shape is recorded."""

_CALLS_TO_RECORD_AGAIN = 8
"""The same once its graph had to make room for others: recording takes as long as many calls without a graph."""

_CALLS_AFTER_NO_MEMORY = 100
"""The same once memory ran out while it was recorded."""

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
_Kind: TypeAlias = tuple[tuple[torch.Size, torch.dtype], ...]
T = TypeVar("T")


class Recorder(Protocol):
    """Makes what a call does on the device repeatable."""

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        """``call``'s work as something to call again, which writes to the tensors that come with it."""

    def reset(self) -> None:
        """Nothing that was recorded is in use any more."""


class CudaRecorder:
    """Records CUDA graphs, whose memory is one pool: they are only ever replayed one after the other."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        graph = torch.cuda.CUDAGraph()
        # other threads may use the device meanwhile: a checkpoint is being loaded, say
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = call()
        return graph.replay, outputs

    def reset(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()


@dataclass(frozen=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    replay: Callable[[], object]
    outputs: tuple[Tensor, ...]

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.replay()
        return self.outputs


@dataclass
class Tally:
    """How often something was prepared for what had not been met: by a first call, a recording, a trial. Only rises."""

    count: int = 0


class Graphs:
    """``function``, whose second call with inputs of some shapes and dtypes records a graph; later ones replay it.

    A graph is kept only if it gives the bits that ``function`` gives. Where none can be recorded, or memory does not
    suffice, ``function`` is called as it is. Not thread-safe: the device's thread owns it.
    """

    def __init__(self, function: Function, recorder: Recorder | None, tally: Tally | None = None) -> None:
        self._function = function
        self._recorder = recorder
        self._tally = tally or Tally()
        self._graphs: OrderedDict[_Kind, _Graph] = OrderedDict()
        self._waits: OrderedDict[_Kind, float] = OrderedDict()  # the call to be recorded: 1 is the next, inf is none

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What ``function`` returns. It may be overwritten by the next call: the device is to be done with it by then.

        Inputs of one place have the same device and strides each time.
        """
        kind = tuple((given.shape, given.dtype) for given in inputs)
        graph = self._graphs.get(kind)
        if graph is not None:
            self._graphs.move_to_end(kind)
            return graph.run(inputs)
        wait = self._waits.get(kind, _CALLS_TO_RECORD)
        if wait <= _CALLS_TO_RECORD_AGAIN:
            self._tally.count += 1
        if self._recorder is not None and wait == 1:
            return self._record(kind, inputs, self._recorder)
        outputs = self._function(*inputs)
        self._waits[kind] = wait - 1 if self._recorder is not None else math.inf
        _forget(self._waits, _MOST_SEEN)
        return outputs

    @property
    def form(self) -> str:
        """How calls run once their shapes are known: ``graph`` or ``eager``."""
        return "eager" if self._recorder is None else "graph"

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    def clear(self) -> None:
        """Give the graphs' memory back; they are recorded anew when they are needed."""
        self._graphs.clear()
        if self._recorder is not None:
            self._recorder.reset()

    def _record(self, kind: _Kind, inputs: tuple[Tensor, ...], recorder: Recorder) -> tuple[Tensor, ...]:
        """What ``function`` returns, and its graph for later calls."""
        expected = self._function(*inputs)
        begin = time.perf_counter()
        graph, wait = self._recorded(inputs, expected, recorder)
        self._waits[kind] = wait
        if graph is not None:
            shapes = [tuple(shape) for shape, _ in kind]
            _log.info("a CUDA graph for %s, in %.2f s", shapes, time.perf_counter() - begin)
            self._graphs[kind] = graph
            for evicted in _forget(self._graphs, _MOST_GRAPHS):
                self._waits[evicted] = _CALLS_TO_RECORD_AGAIN
        elif wait == _CALLS_AFTER_NO_MEMORY:
            self.clear()
            release_cached(inputs[0].device)
        elif not self._graphs:
            recorder.reset()  # torch refuses to record into a pool whose last graph is gone
        return expected

    def _recorded(
        self, inputs: tuple[Tensor, ...], expected: tuple[Tensor, ...], recorder: Recorder
    ) -> tuple[_Graph | None, float]:
        """A graph that gives ``expected``, if there is one, and which of the next calls without it is recorded."""
        shapes = [tuple(given.shape) for given in inputs]
        try:
            own = tuple(given.clone() for given in inputs)
            graph = _Graph(own, *recorder.record(lambda: self._function(*own)))
            if all(map(_same_bits, expected, graph.run(inputs))):
                return graph, 1
        except Exception as error:
            if out_of_memory(error):
                return None, _CALLS_AFTER_NO_MEMORY
            _log.warning("no CUDA graph for %s: %s", shapes, error)
        else:
            _log.warning("the CUDA graph for %s gives other bits; not used", shapes)
        return None, math.inf


class Launcher:
    """Makes the graphs of one model's networks, and gives the memory of all back together."""

    def __init__(self, recorder: Callable[[], Recorder | None] = lambda: None, tally: Tally | None = None) -> None:
        """``recorder`` makes one for each function, since outputs of different ones are in use at the same time."""
        self.tally = tally or Tally()
        self._recorder = recorder
        self._made: list[Graphs] = []

    def graphs(self, function: Function) -> Graphs:
        """``function``, launched as graphs."""
        self._made.append(Graphs(function, self._recorder(), self.tally))
        return self._made[-1]

    def drop(self, graphs: Graphs) -> None:
        """Give the memory of ``graphs``, which are used no more, back."""
        self._made.remove(graphs)
        graphs.clear()

    def release(self) -> None:
        """Give back the memory that graphs hold; they are recorded anew when they are needed."""
        for graphs in self._made:
            graphs.clear()


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def _forget(items: OrderedDict[_Kind, T], most: int) -> list[_Kind]:
    """Remove the first of ``items`` beyond ``most``; which they were."""
    return [items.popitem(last=False)[0] for _ in range(len(items) - most)]
